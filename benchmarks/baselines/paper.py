"""MELO as published, from `melo_engine.paper`, in the interface of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.baselines.base import Asked, Method
from melo_engine import Backbone, EditRequest
from melo_engine.blocks import GatheredBlocks
from melo_engine.encoders import forward_to_key
from melo_engine.paper import PaperEditor, PaperSettings
from melo_engine.runtime import Pass


@dataclass
class _Labelled:
    """A classifier's backbone as the paper's editor asks it: a target is its label."""

    backbone: Backbone

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def encode_target(self, target: str) -> list[int]:
        return [self.backbone.label(target)]


class Paper(Method):
    """Last-token keys, moving centres, radii that grow and split, blocks one batch after the other."""

    name = "paper"

    def __init__(self, backbone: Backbone, settings: PaperSettings | None = None) -> None:
        super().__init__(backbone)
        editable: Any = backbone if backbone.generates else _Labelled(backbone)
        self.editor = PaperEditor(editable, settings)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.backbone.dtype)  # its blocks are drawn in torch's default type
        try:
            self.editor.edit(requests)
        finally:
            torch.set_default_dtype(before)

    @contextmanager
    def acting(self, queries: Asked, prompt: Tensor) -> Iterator[None]:
        batch = self.backbone.encode(queries.prompts, padding_side="right")
        hidden = self.editor.backbone.runtime.read_hidden(
            lambda: forward_to_key(self.backbone, batch)
        )
        keys = hidden[:, -1].float().cpu().numpy()  # (B, H), padding or not, as published
        indices = [self.editor.index.find(key) for key in keys]
        with self.editor.backbone.runtime.running(Pass(self._gathered(indices))):
            yield

    def _gathered(self, indices: Sequence[int | None]) -> GatheredBlocks | None:
        rows = [i for i, index in enumerate(indices) if index is not None]
        if not rows:
            return None
        chosen = [self.editor.blocks[index] for index in indices if index is not None]
        pairs = tuple(
            (torch.stack([c[t][0] for c in chosen]), torch.stack([c[t][1] for c in chosen]))
            for t in range(len(chosen[0]))
        )
        return GatheredBlocks(torch.tensor(rows, device=self.backbone.device), len(indices), pairs)
