"""What a run works on: one home's settings, paths, ledger, versions and registry.

flow   with opened(home) as context:     for the time of a run, once; a flow within it, or a task
                                         that may run elsewhere, takes up what this process has open
step   with context.step():              by the settings as they are when it begins
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from config import Paths, Settings, load
from ledger import Ledger
from registry.relocation import put_right

if TYPE_CHECKING:
    from execution.versions import Versions
    from registry.store import Registry

log = logging.getLogger(__name__)

_open: dict[Path, Context] = {}


class Context:
    """What a run works on; each part is opened when it is first asked for."""

    def __init__(self, settings: Settings, ledger: Ledger | None = None) -> None:
        """ledger: None opens the home's when it is first asked for."""
        self.settings = settings
        if ledger is not None:
            vars(self)["ledger"] = ledger

    @property
    def paths(self) -> Paths:
        """Where things are in the home."""
        return self.settings.paths

    @cached_property
    def ledger(self) -> Ledger:
        """The home's ledger, created where it is missing; a home that was moved is put right first."""
        moved = put_right(self.settings)
        if moved is not None:
            log.warning("%s", moved)
            self.settings = load(self.settings.home)  # melo.toml may have named the old place
        return ledger_of(self.settings)

    @property
    def versions(self) -> Versions:
        """The home's versions, and the backbone that they edit, as the settings are now."""
        from execution.versions import Versions  # which imports torch

        return Versions(self.settings)

    @property
    def registry(self) -> Registry:
        """The home's MLflow store."""
        from registry.store import Registry

        return Registry(self.settings)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One step of a run: it goes by what is set now, and readers see what it wrote at its end."""
        self.settings = load(self.settings.home)
        try:
            yield
        finally:
            self.publish()

    def publish(self) -> None:
        """Let readers see what was written."""
        if "ledger" in vars(self):
            self.ledger.store.publish()


@contextlib.contextmanager
def opened(home: str | Path) -> Iterator[Context]:
    """The context of a home: the one that is open in this process, or one for the block."""
    place = Path(home).absolute()
    new = Context(load(place))
    context = _open.setdefault(place, new)
    try:
        with context.step():
            yield context
    finally:
        if context is new:
            del _open[place]


def open_ledger(settings: Settings) -> Ledger:
    """The home's ledger, created where it is missing; a home that was moved is put right first."""
    return Context(settings).ledger


def ledger_of(settings: Settings, *, read_only: bool = False) -> Ledger:
    """The ledger that the settings name, created where it is missing unless it is only read."""
    return Ledger.open(
        settings.paths.ledger,
        read_only=read_only,
        timeout=settings.ledger.timeout_seconds,
        threads=settings.ledger.threads,
        read_copy=settings.paths.read_ledger,
    )
