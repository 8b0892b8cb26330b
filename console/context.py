"""What every command shares: the home it works in, with settings and ledger, and common options."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from config import Settings
    from execution.context import Context
    from ledger import Ledger
    from registry.relocation import Moved

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BACKBONES = "smollm2, a folder, a GGUF file or a hub id"
Why = Annotated[str, typer.Option(help="The reason, kept on record.")]


def new_app(**options: Any) -> typer.Typer:
    """A typer app in the manner of this command line: plain help, known errors left to `run`."""
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options
    )


class State:
    """The home a command works in; settings and ledger are opened when first asked for."""

    def __init__(self, home: Path = Path(".melo")) -> None:
        self.home = home
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The home's settings."""
        if self._settings is None:
            from config import load

            self._settings = load(self.home)
        return self._settings

    def ledger(self, *, create: bool = True) -> Ledger:
        """The home's ledger; with `create=False` a home without one is an error."""
        from execution.context import ledger_of

        if not create:
            self._refuse_no_ledger()
        moved = self.at_home()
        opened = ledger_of(self.settings)
        if moved is not None:
            opened.events.record("home-moved", str(moved), severity="warning")
        return opened

    def context(self, ledger: Ledger) -> Context:
        """What steps work on, with this ledger of the home."""
        from execution.context import Context

        return Context(self.settings, ledger)

    def at_home(self) -> Moved | None:
        """Put right what names a place where the home was before, and say so."""
        from registry.relocation import put_right

        if not self.settings.home.is_dir():
            return None
        moved = put_right(self.settings)
        if moved is not None:
            typer.echo(f"melo: {moved}", err=True)
            self._settings = None  # melo.toml may have named the old place
        return moved

    def reader(self) -> Ledger:
        """The home's ledger to read: nothing is written, unless an older release made it.

        A home without one is an error.
        """
        from execution.context import ledger_of
        from ledger import LedgerTooOld

        self._refuse_no_ledger()
        try:
            return ledger_of(self.settings, read_only=True)
        except LedgerTooOld:
            return self.ledger(create=False)

    def _refuse_no_ledger(self) -> None:
        from console.errors import UsageProblem

        path = self.settings.paths.ledger
        if not path.exists():
            raise UsageProblem(f"no ledger at {path}. Start with `melo init` or `melo ingest`.")


def state(ctx: typer.Context) -> State:
    """The state of a command's context, one for all of a call."""
    return ctx.find_root().ensure_object(State)


def user() -> str:
    """Who types, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"
