"""A version that is open for asking."""

from __future__ import annotations

from typing import Any

import torch

from melo_engine import Backbone, Editor, HiddenStates, Version
from melo_engine.keys import KeyReader

BASE = "base"


class Loaded:
    """One version on the backbone. version: None for the backbone without any edit.

    id: the version's content hash, or "base". number: the registry's.
    """

    def __init__(self, backbone: Backbone, version: Version | None, number: str | None = None):
        self.backbone = backbone
        # The backbone alone needs no keys, so none of what reads them is opened for it.
        reader = KeyReader(HiddenStates(backbone)) if version is None else None
        self.editor = Editor(backbone, version, reader=reader)
        self.base = version is None
        self.id = BASE if version is None else version.id
        self.number = number

    @torch.inference_mode()
    def warm(self) -> None:
        """Build the index and run the model once, so that the first who asks need not wait."""
        short: dict[str, Any] = {"max_new_tokens": 2} if self.backbone.generates else {}
        self.editor.answer(["Is everything in place?"], base=self.base, **short)
