"""Greedy texts, cut where their verdict is known, that do not depend on who else was in the batch.

    until a reference      cut at the first token that departs from it
    beside the backbone    both are decoded in step, and cut where they part
    to be read             cut where there is enough of it
    in circles             cut at the second turn, as what a block without numbers says

Sums in floating point differ a little between batches. That can only change a greedy answer where
two tokens are nearly tied. So every forward pass is watched; a prompt that came to a near tie is
answered again alone, and alone is what counts. What batches save, they keep: ties are rare.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from melo_engine import Backbone, Editor, MeloError, Prompt, Version
from melo_engine.generating import end_tokens, texts_of
from melo_engine.prompt_states import PromptStates
from melo_engine.schemes import ANSWERING
from tasks.gate.cache.answers import Text
from tasks.gate.types import text_of

BATCH = 32
SHORT_OF_A_TIE = {torch.float32: 2e-3, torch.float64: 1e-6}
COARSE = 0.25  # half precision: logits themselves have a grain of some hundredths
LONG = 100  # tokens of a long free generation, as in ROME
SHOWN = 24  # tokens of a text that is shown as evidence
LONGEST_LOOP, SHORTEST_LOOP = 32, 4  # tokens of one turn
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt with the block of an edit, None for the backbone.

    until: the text that the answer is compared with; None: all of it is wanted. read: so many
    tokens of it are enough, SHOWN or LONG; 0: it is not to be cut there.
    """

    prompt: Prompt
    edit: str | None
    until: str | None = None
    read: int = 0


class Decoder:
    """Generates texts. texts, tokens: how many were generated."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.states = PromptStates(editor.backbone)
        self.tolerance = SHORT_OF_A_TIE.get(editor.backbone.dtype, COARSE)
        self.texts = 0
        self.tokens = 0
        self._reference_ids: dict[str, list[int]] = {}

    @property
    def scope(self) -> str:
        """Everything besides prompt and block that a text depends on."""
        limit = self.editor.backbone.max_answer_tokens
        return scope_of(self.editor, "greedy", max_new_tokens=limit)

    @torch.inference_mode()
    def answers(self, asks: Sequence[Ask], progress: Report | None = None) -> list[Text]:
        """The text for each. progress: called with how many are done."""
        texts = [Text("")] * len(asks)
        # Alike lengths together, and prompts without a block apart from those with one.
        order = sorted(range(len(asks)), key=lambda i: self._batch_key(asks[i]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            decoded, ties = self._run([asks[i] for i in rows])
            for i, text, tie in zip(rows, decoded, ties, strict=True):
                texts[i] = self._run([asks[i]])[0][0] if tie else text
            if progress is not None:
                progress(min(start + BATCH, len(order)))
        return texts

    @torch.inference_mode()
    def beside_base(
        self, prompts: Sequence[Prompt], edits: Sequence[str], progress: Report | None = None
    ) -> list[tuple[Text, Text]]:
        """The backbone's text and the block's for each prompt, in step, until they part."""
        pairs = [(Text(""), Text(""))] * len(prompts)
        order = sorted(
            range(len(prompts)), key=lambda i: (len(text_of(prompts[i])), str(prompts[i]))
        )
        size = BATCH // 2
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            asks = [ask for i in rows for ask in (Ask(prompts[i], None), Ask(prompts[i], edits[i]))]
            decoded, ties = self._run(asks, paired=True)
            for place, i in enumerate(rows):
                base_row, edit_row = 2 * place, 2 * place + 1
                if ties[base_row] or ties[edit_row]:
                    base = self._run([asks[base_row]])[0][0]
                    until = base.text if base.whole else None
                    edited = self._run([replace(asks[edit_row], until=until)])[0][0]
                    pairs[i] = base, edited
                else:
                    pairs[i] = decoded[base_row], decoded[edit_row]
            if progress is not None:
                progress(min(start + size, len(order)))
        return pairs

    def _run(self, asks: Sequence[Ask], paired: bool = False) -> tuple[list[Text], list[bool]]:
        """Texts, and for each whether some step came within the tolerance of a tie."""
        editor, backbone = self.editor, self.editor.backbone
        read = self.states.encoded if len(asks) > 1 else backbone.encode  # alone is alone
        encoded = read([a.prompt for a in asks])
        self.texts += len(asks)
        with editor.runtime.running(editor.blocks_of([a.edit for a in asks])):
            if not backbone.generates:
                self.tokens += len(asks)
                watch = _Watch(torch.ones(len(asks), dtype=torch.bool))
                with watch.on(backbone.model):
                    texts = texts_of(backbone, encoded, {})
                return [Text(t) for t in texts], self._ties(watch)
            stop = _Stop(backbone, asks, [self._ids(a.until) for a in asks], paired)
            watch = _Watch(stop.open)
            with watch.on(backbone.model):
                texts_of(backbone, encoded, {"stopping_criteria": StoppingCriteriaList([stop])})
        self.tokens += sum(map(len, stop.ids))
        return stop.texts(), self._ties(watch)

    def _ties(self, watch: _Watch) -> list[bool]:
        single = len(watch.margin) == 1
        return [not single and tie for tie in (watch.margin < self.tolerance).tolist()]

    def _ids(self, reference: str | None) -> list[int]:
        """The tokens of a reference, [] where the vocabulary can't write it."""
        if reference is None:
            return []
        if reference not in self._reference_ids:
            try:
                self._reference_ids[reference] = self.editor.backbone.encode_target(reference)
            except MeloError:
                self._reference_ids[reference] = []
        return self._reference_ids[reference]

    def _batch_key(self, ask: Ask) -> tuple[bool, int, int, str]:
        expected = 10_000 if ask.until is None else len(ask.until)
        return ask.edit is not None, expected, len(text_of(ask.prompt)), str(ask.prompt)


class RowStop(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch at an end token or by a rule of its own; keeps its tokens up to there."""

    def __init__(self, rows: int, ends: set[int]) -> None:
        self.open = torch.ones(rows, dtype=torch.bool)
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self._ends = ends
        self._start: int | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Tensor:
        if self._start is None:
            self._start = input_ids.shape[1] - 1
        generated = input_ids[:, self._start :].tolist()
        for row in self.open.nonzero().flatten().tolist():
            self.ids[row] = generated[row]
            if generated[row][-1] in self._ends:
                self.open[row] = False
            else:
                self.judge(row)
        self.judge_batch()
        return (~self.open).to(input_ids.device)

    @abstractmethod
    def judge(self, row: int) -> None:
        """Close the row if its newest token says so."""

    def judge_batch(self) -> None:
        """Close what only several rows together can tell."""


class _Stop(RowStop):
    """Ends each row as soon as its verdict is known."""

    def __init__(
        self, backbone: Backbone, asks: Sequence[Ask], targets: Sequence[list[int]], paired: bool
    ) -> None:
        super().__init__(len(asks), end_tokens(backbone))
        self._backbone, self._asks, self._targets, self._paired = backbone, asks, targets, paired
        self._ended = ["whole"] * len(asks)

    def judge(self, row: int) -> None:
        if self._asks[row].until is not None and self._departs(row):
            self._close(row, "departed")
        elif self._loops(row):
            self._close(row, "looped")
        elif 0 < self._asks[row].read <= len(self.ids[row]):
            self._close(row, "cut" if self._asks[row].read < LONG else "long")

    def judge_batch(self) -> None:
        if not self._paired:
            return
        for row in range(0, len(self.ids), 2):
            base, edited = self.ids[row], self.ids[row + 1]
            length = min(len(base), len(edited))
            if base[:length] != edited[:length] or len(base) != len(edited):
                self._close_pair(row, "departed")
            elif loops(base):
                self._close_pair(row, "looped")

    def texts(self) -> list[Text]:
        """The text of each row."""
        texts = []
        for ids, ended in zip(self.ids, self._ended, strict=True):
            text = self._backbone.decode(ids)
            texts.append(Text(text if ended == "whole" else text.rstrip("\ufffd"), ended))  # type: ignore[arg-type]
        return texts

    def _close_pair(self, first: int, ended: str) -> None:
        for row in (first, first + 1):
            if self.open[row]:
                self._close(row, ended)

    def _close(self, row: int, ended: str) -> None:
        self.open[row] = False
        self._ended[row] = ended

    def _loops(self, row: int) -> bool:
        """Whether a row goes in circles. A text that it is compared with may repeat itself too."""
        ids = self.ids[row]
        if self._paired or ids == self._targets[row][: len(ids)] or not loops(ids):
            return False
        return self._asks[row].until is None or self._text(ids) == self._text(ids[:-1])

    def _text(self, ids: Sequence[int]) -> str:
        """The text without half a character at its end."""
        return self._backbone.decode(ids).rstrip("\ufffd")

    def _departs(self, row: int) -> bool:
        """By token and by text: one text may be written by several tokenizations."""
        ids, until = self.ids[row], self._asks[row].until or ""
        if ids == self._targets[row][: len(ids)]:
            return False
        return not until.startswith(self._text(ids))


class _Watch:
    """Sees the logits of every step; keeps each open row's smallest lead of best over second."""

    def __init__(self, still_open: Tensor) -> None:
        self.margin = torch.full((len(still_open),), float("inf"))
        self._open = still_open

    @contextmanager
    def on(self, model: Any) -> Iterator[None]:
        handle = model.register_forward_hook(self._observe)
        try:
            yield
        finally:
            handle.remove()

    def _observe(self, module: Any, inputs: Any, output: Any) -> None:
        logits: Tensor | None = getattr(output, "logits", None)
        if logits is None or logits.shape[0] != len(self.margin):
            return
        last = logits[:, -1] if logits.dim() == 3 else logits  # (B, V) or (B, classes)
        best = last.float().topk(2, -1).values
        lead = (best[:, 0] - best[:, 1]).cpu()
        self.margin = torch.where(self._open, torch.minimum(self.margin, lead), self.margin)


def loops(ids: Sequence[int]) -> bool:
    """Whether the last tokens are the second turn of a loop; short turns must come four times."""
    for turn in range(1, min(LONGEST_LOOP, len(ids) // 2) + 1):
        times = 2 if turn >= 2 * SHORTEST_LOOP else 4
        if len(ids) >= times * turn >= SHORTEST_LOOP:
            tail = ids[-times * turn :]
            if all(tail[i] == tail[i % turn] for i in range(turn, len(tail))):
                return True
    return False


def scope_of(editor: Editor, how: str, **settings: object) -> str:
    """Names the model, the machine's arithmetic and the settings that texts were made with."""
    backbone = editor.backbone
    return "|".join(
        [
            how,
            backbone.weights_hash,
            backbone.tokenizer_hash,
            backbone.task,
            str(backbone.dtype),
            backbone.device.type,
            f"torch {torch.__version__.split('+')[0]}",
            f"transformers {transformers.__version__}",
            f"answering {ANSWERING}",
            f"system {backbone.system_prompt!r}" if backbone.is_chat else "plain",
            *(f"{k}={v}" for k, v in sorted(settings.items())),
        ]
    )


@contextmanager
def using(editor: Editor, version: Version) -> Iterator[None]:
    """Let the editor hold another version inside the block."""
    before = editor.version
    editor.use(version)
    try:
        yield
    finally:
        editor.use(before)
