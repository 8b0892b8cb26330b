"""A version that is open for asking. It closes when it has been replaced and nobody asks it any more."""

from __future__ import annotations

import threading
from typing import Any

import torch

from artifacts.route import route_as_json
from melo_engine import Backbone, Editor, HiddenStates, Version
from melo_engine.types import Route

BASE = "base"


class Loaded:
    """One version on the backbone. version: None for the backbone without any edit.

    id: the version's content hash, or "base". number: the registry's.
    """

    def __init__(self, backbone: Backbone, version: Version | None, number: str | None = None):
        self.backbone = backbone
        # The backbone alone needs no keys, so none of what reads them is opened for it.
        encoder = HiddenStates(backbone) if version is None else None
        self.editor = Editor(backbone, version, encoder=encoder)
        self.base = version is None
        self.id = BASE if version is None else version.id
        self.number = number
        self._short: dict[str, Any] = {"max_new_tokens": 2} if backbone.generates else {}
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False
        self.closed = False

    @torch.inference_mode()
    def warm(self) -> None:
        """Build the index and run the model once, so that the first who asks need not wait."""
        self.editor.answer(["Is everything in place?"], base=self.base, **self._short)

    def acquire(self) -> Loaded:
        """Keep it open until `release`."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """The other end of `acquire`."""
        with self._lock:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close it as soon as nobody uses it."""
        with self._lock:
            self._retired = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and self._users == 0:
            self.closed = True
            self.editor.close()


def provenance(version: str, route: Route) -> dict[str, object]:
    """Where an answer came from, as JSON has it: version, edit, block, distance, radius."""
    return {"version": version, **route_as_json(route)}
