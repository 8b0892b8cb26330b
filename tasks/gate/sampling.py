"""Sampled answers and scored texts: what the measures of hallucination and retention read.

Both are asked one prompt at a time, so that no batch has a say, and both are cached like answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import cross_entropy

from melo_engine import Editor
from melo_engine.blocks import gather
from melo_engine.lessons import IGNORE, Lesson, lesson_batch
from melo_engine.runtime import Pass
from tasks.gate.answering import scope_of

SAMPLES = 5  # SelfCheckGPT (Manakul et al. 2023) shows most of the gain by then
_BETWEEN = "\x1f"  # parts a prompt from the text that is scored


class Sampler:
    """Several answers to a prompt at temperature 1, under a seed. As JSON: a list of texts."""

    def __init__(self, editor: Editor, samples: int = SAMPLES, seed: int = 0) -> None:
        self.editor, self.samples, self.seed = editor, samples, seed

    @property
    def scope(self) -> str:
        """See Asker."""
        return scope_of(self.editor, "sampled", samples=self.samples, seed=self.seed)

    def answers(
        self,
        prompts: Sequence[str],
        edits: Sequence[str | None],
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """See Asker."""
        found = []
        with torch.random.fork_rng():
            for done, (prompt, edit) in enumerate(zip(prompts, edits, strict=True), 1):
                named = hashlib.blake2b(f"{self.seed}|{prompt}".encode(), digest_size=6).digest()
                torch.manual_seed(int.from_bytes(named, "big"))
                texts = self.editor.answer_with(
                    [prompt] * self.samples, [edit] * self.samples, do_sample=True, top_k=0
                )
                found.append(json.dumps(texts, ensure_ascii=False))
                if progress is not None:
                    progress(done)
        return found


class Scorer:
    """Mean negative log-likelihood of a text after its prompt, in nats a token, as a decimal.

    A prompt is asked as `scored(prompt, text)`. "nan" where the vocabulary can't write the text.
    """

    def __init__(self, editor: Editor) -> None:
        self.editor = editor

    @property
    def scope(self) -> str:
        """See Asker."""
        return scope_of(self.editor, "likelihood")

    @torch.inference_mode()
    def answers(
        self,
        prompts: Sequence[str],
        edits: Sequence[str | None],
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """See Asker."""
        found = []
        for done, (asked, edit) in enumerate(zip(prompts, edits, strict=True), 1):
            prompt, _, text = asked.partition(_BETWEEN)
            found.append(repr(self._score(prompt, text, edit)))
            if progress is not None:
                progress(done)
        return found

    def _score(self, prompt: str, text: str, edit: str | None) -> float:
        backbone, editor = self.editor.backbone, self.editor
        target = backbone.encode_target(text) if backbone.generates else [backbone.label(text)]
        batch = lesson_batch(backbone, [Lesson("", (prompt,), tuple(target))])
        place = editor.version.place(edit) if edit is not None else None
        blocks = gather([place], backbone.device, backbone.dtype)
        with editor.runtime.running(Pass(blocks)):
            logits = batch.forward(backbone).float()  # (1, T, V), or (1, classes)
        labels = batch.labels.flatten()
        return float(cross_entropy(logits.view(len(labels), -1), labels, ignore_index=IGNORE))


def scored(prompt: str, text: str) -> str:
    """How a Scorer is asked."""
    return f"{prompt}{_BETWEEN}{text}"
