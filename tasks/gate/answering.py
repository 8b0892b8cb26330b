"""Answers that do not depend on who else was in the batch.

Sums in floating point differ a little between batches. That can only change a greedy answer where
two tokens are nearly tied. So every forward pass is watched; a prompt that came to a near tie is
answered again alone, and alone is what counts. What batches save, they keep: ties are rare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor

import melo_engine
from melo_engine import Editor, Version

BATCH = 32
SHORT_OF_A_TIE = {torch.float32: 2e-3, torch.float64: 1e-6}
COARSE = 0.25  # half precision: logits themselves have a grain of some hundredths


class Asker(Protocol):
    """Gets a text out of the model for each prompt with the block of an edit, None for none."""

    @property
    def scope(self) -> str:
        """Everything besides prompt and block that a text depends on."""

    def answers(
        self,
        prompts: Sequence[str],
        edits: Sequence[str | None],
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """The text for each prompt. progress: called with how many are done."""


class Answerer:
    """Answers with given blocks, greedily, on the version that the editor holds.

    generation: further settings of `generate`, such as max_new_tokens.
    """

    def __init__(self, editor: Editor, generation: dict[str, Any] | None = None) -> None:
        self.editor = editor
        self.generation = dict(generation or {})
        self.tolerance = SHORT_OF_A_TIE.get(editor.backbone.dtype, COARSE)

    @property
    def scope(self) -> str:
        """See Asker."""
        limit = self.editor.backbone.max_answer_tokens
        return scope_of(self.editor, "greedy", **{"max_new_tokens": limit, **self.generation})

    def answers(
        self,
        prompts: Sequence[str],
        edits: Sequence[str | None],
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """The answer to each prompt with the block of the edit beside it, None for the backbone."""
        texts = [""] * len(prompts)
        # Alike lengths together, and prompts without a block apart from those with one.
        order = sorted(
            range(len(prompts)), key=lambda i: (edits[i] is not None, len(prompts[i]), prompts[i])
        )
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            rows.sort(key=lambda i: len(prompts[i]))  # the order that the editor keeps
            found, ties = self._watched([prompts[i] for i in rows], [edits[i] for i in rows])
            for i, text, tie in zip(rows, found, ties, strict=True):
                texts[i] = self._ask([prompts[i]], [edits[i]])[0] if tie else text
            if progress is not None:
                progress(min(start + BATCH, len(order)))
        return texts

    def _ask(self, prompts: list[str], edits: list[str | None]) -> list[str]:
        return self.editor.answer_with(prompts, edits, batch_size=BATCH, **self.generation)

    def _watched(self, prompts: list[str], edits: list[str | None]) -> tuple[list[str], list[bool]]:
        """Texts, and for each whether some step came within the tolerance of a tie."""
        if len(prompts) == 1:
            return self._ask(prompts, edits), [False]
        watch = _Watch(len(prompts), self._end())
        with watch.on(self.editor.backbone.model):
            texts = self._ask(prompts, edits)
        return texts, (watch.margin < self.tolerance).tolist()

    def _end(self) -> int | None:
        return self.editor.backbone.end_token if self.editor.backbone.generates else None


class _Watch:
    """Sees the logits of every step; keeps each row's smallest lead of best over second."""

    def __init__(self, rows: int, end: int | None) -> None:
        self.margin = torch.full((rows,), float("inf"))
        self._open = torch.ones(rows, dtype=torch.bool)
        self._end = end

    @contextmanager
    def on(self, model: Any) -> Iterator[None]:
        handle = model.register_forward_hook(self._see)
        try:
            yield
        finally:
            handle.remove()

    def _see(self, module: Any, inputs: Any, output: Any) -> None:
        logits: Tensor | None = getattr(output, "logits", None)
        if logits is None or logits.shape[0] != len(self.margin):
            return
        last = logits[:, -1] if logits.dim() == 3 else logits  # (B, V) or (B, classes)
        best = last.float().topk(2, -1)
        lead = (best.values[:, 0] - best.values[:, 1]).cpu()
        self.margin = torch.where(self._open, torch.minimum(self.margin, lead), self.margin)
        if self._end is not None:
            self._open &= best.indices[:, 0].cpu() != self._end


def scope_of(editor: Editor, how: str, **settings: object) -> str:
    """Names the model, the machine's arithmetic and the settings that texts were made with."""
    backbone = editor.backbone
    return "|".join(
        [
            how, backbone.weights_hash, backbone.tokenizer_hash, backbone.task,
            str(backbone.dtype), backbone.device.type,
            f"torch {torch.__version__.split('+')[0]}",
            f"transformers {transformers.__version__}", f"engine {engine_hash()}",
            *(f"{k}={v}" for k, v in sorted(settings.items())),
        ]
    )  # fmt: skip


@cache
def engine_hash() -> str:
    """Names the engine's code: another one may route and answer otherwise."""
    digest = hashlib.sha256()
    for path in sorted(Path(melo_engine.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def using(editor: Editor, version: Version) -> Iterator[None]:
    """Let the editor hold another version inside the block."""
    before = editor.version
    editor.use(version)
    try:
        yield
    finally:
        editor.use(before)
