"""This engine, and the same blocks with a router that is told the right edit (upper bound).

The oracle shows what routing loses: it forces the edit's own block on every prompt that the test
made for this edit as a rephrase, and none on any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmarks.baselines.base import ANSWER_TOKENS, Asked, Method
from melo_engine import Backbone, Calibration, Conflict, Editor, EditRequest, EditSettings, Prompt
from melo_engine.blocks import GatheredBlocks, gather
from melo_engine.keys import KeyReader
from melo_engine.matching.inference import SubjectTagger
from melo_engine.runtime import Pass


class Melo(Method):
    """`melo_engine.Editor`. superseded: ids of requests that a later one contradicts."""

    name = "melo"
    job = 100

    def __init__(
        self,
        backbone: Backbone,
        *,
        reader: KeyReader | None = None,
        calibration: Calibration | None = None,
        tagger: Callable[[], SubjectTagger] | None = None,
        settings: EditSettings | None = None,
    ) -> None:
        super().__init__(backbone)
        self.editor = Editor(
            backbone,
            reader=reader,
            calibration=calibration,
            tagger=tagger,
            settings=settings,
        )
        self.superseded: set[str] = set()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Of two edits that ask the same and differ, the later one stands: the ledger's own rule."""
        result = self.editor.edit(requests)
        losers = {c.other for c in result.conflicts if c.same_subject or not self._named(c)}
        if losers := losers & set(self.editor.version.edits):
            self.editor.revoke(sorted(losers))
        self.superseded |= losers

    def _named(self, conflict: Conflict) -> bool:
        version = self.editor.version
        return bool(version[conflict.new].request.names and version[conflict.other].request.names)

    @contextmanager
    def acting(self, queries: Asked, prompt: Tensor) -> Iterator[None]:
        with self.editor.runtime.running(Pass(_blocks(self.editor, self.edits(queries)))):
            yield

    def edits(self, queries: Asked) -> list[str | None]:
        """The edit that acts on each prompt."""
        return [route.edit for route in self.editor.routes(queries.prompts)]

    def untouched(self, prompts: Sequence[Prompt]) -> list[bool]:
        return [route.edit is None for route in self.editor.routes(prompts)]

    @torch.inference_mode()
    def answer(self, queries: Asked, tokens: int = ANSWER_TOKENS) -> list[str]:
        """As served."""
        room = min(tokens, self.backbone.max_answer_tokens)
        options: dict[str, Any] = {"max_new_tokens": room} if self.backbone.generates else {}
        return [a.text for a in self.editor.answer(queries.prompts, **options)]


class Oracle(Method):
    """The blocks that a `Melo` has at that moment, each forced on the prompts about its edit."""

    name = "oracle"

    def __init__(self, melo: Melo) -> None:
        super().__init__(melo.backbone)
        self.melo = melo

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Nothing to do: `melo` has trained the blocks."""

    def untouched(self, prompts: Sequence[Prompt]) -> list[bool]:
        """Prompts that no owner is named of: no block is forced on them."""
        return [True] * len(prompts)

    @contextmanager
    def acting(self, queries: Asked, prompt: Tensor) -> Iterator[None]:
        version = self.melo.editor.version
        edits = [o if o is not None and o in version else None for o in queries.owners]
        with self.melo.editor.runtime.running(Pass(_blocks(self.melo.editor, edits))):
            yield


def _blocks(editor: Editor, edits: Sequence[str | None]) -> GatheredBlocks | None:
    places = [editor.version.place(e) if e is not None else None for e in edits]
    return gather(places, editor.backbone.device, editor.backbone.dtype)
