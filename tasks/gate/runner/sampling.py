"""Sampled answers and scored texts: what the measures of hallucination and retention read.

A sample at temperature 1 is the greedy answer under noise (Gumbel-max): logits plus noise that is drawn
from the seed, the prompt, the number of the draw and the step. So any prompts may be drawn together, and
none depends on the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList

from melo_engine import Editor
from melo_engine.blocks import gather
from melo_engine.generating import end_tokens, texts_of
from melo_engine.prompt_states import PromptStates
from melo_engine.runtime import Pass
from melo_engine.training_examples import IGNORE, TrainingExample, example_batch
from tasks.gate.runner.decoding import BATCH, RowStop, scope_of
from tasks.gate.runner.runner import Query
from tasks.gate.types import text_of

ROOM = 8  # tokens that a sample may have beyond twice those of the greedy answer


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to draw. number: of the draw; limit: tokens at most."""

    query: Query
    number: int
    limit: int


class GateSampler:
    """Draws samples, many prompts at once. tokens, texts: how many were generated."""

    def __init__(self, editor: Editor, states: PromptStates, seed: int = 0) -> None:
        self.editor, self.states, self.seed = editor, states, seed
        self.tokens = 0
        self.texts = 0

    @property
    def scope(self) -> str:
        """Everything besides prompt and block that a sample depends on."""
        return scope_of(self.editor, "sampled", seed=self.seed, room=ROOM)

    @torch.inference_mode()
    def draw(self, draws: Sequence[Draw]) -> list[tuple[str, int]]:
        """The text of each and how many tokens it took."""
        samples = [("", 0)] * len(draws)
        order = sorted(
            range(len(draws)), key=lambda i: (draws[i].limit, len(text_of(draws[i].query[0])), i)
        )
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            for i, drawn in zip(rows, self._batch([draws[i] for i in rows]), strict=True):
                samples[i] = drawn
        self.texts += len(draws)
        self.tokens += sum(tokens for _, tokens in samples)
        return samples

    def _batch(self, draws: Sequence[Draw]) -> list[tuple[str, int]]:
        backbone = self.editor.backbone
        noise = _Noise([f"{self.seed}|{d.number}|{d.query[0]}" for d in draws])
        limits = _Limits([d.limit for d in draws], end_tokens(backbone))
        encoded = self.states.encoded([d.query[0] for d in draws])
        with self.editor.runtime.running(self.editor.blocks_of([d.query[1] for d in draws])):
            texts_of(
                backbone,
                encoded,
                {
                    "logits_processor": LogitsProcessorList([noise]),
                    "stopping_criteria": StoppingCriteriaList([limits]),
                    "max_new_tokens": min(max(d.limit for d in draws), backbone.max_answer_tokens),
                },
            )
        return [(backbone.decode(ids), len(ids)) for ids in limits.ids]


class _Noise(LogitsProcessor):  # type: ignore[misc]
    """Adds Gumbel noise: the likeliest token then is a sample of the distribution."""

    def __init__(self, names: Sequence[str]) -> None:
        self._generators = []
        for name in names:
            digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=7).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
            self._generators.append(generator)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        size = scores.shape[1]
        drawn = torch.stack([torch.rand(size, generator=g) for g in self._generators])  # (B, V)
        noise = -torch.log(-torch.log(drawn.clamp(1e-10, 1 - 1e-7)))
        return scores.float() + noise.to(scores.device)


class _Limits(RowStop):
    """Ends each row at its own limit."""

    def __init__(self, limits: Sequence[int], ends: set[int]) -> None:
        super().__init__(len(limits), ends)
        self._limits = limits

    def judge(self, row: int) -> None:
        if len(self.ids[row]) >= self._limits[row]:
            self.open[row] = False


class Scorer:
    """Mean negative log-likelihood of a text after its prompt, in nats a token."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor

    @property
    def scope(self) -> str:
        """Everything besides prompt, block and text that a likelihood depends on."""
        return scope_of(self.editor, "likelihood")

    @torch.inference_mode()
    def score(self, query: Query, text: str) -> float:
        """Of one text, asked alone. Raises MeloError where the vocabulary can't write it."""
        backbone, editor = self.editor.backbone, self.editor
        target = backbone.encode_target(text) if backbone.generates else [backbone.label(text)]
        batch = example_batch(backbone, [TrainingExample("", (query[0],), tuple(target))])
        place = editor.version.place(query[1]) if query[1] is not None else None
        blocks = gather([place], backbone.device, backbone.dtype)
        with editor.runtime.running(Pass(blocks)):
            logits = batch.forward(backbone).float()  # (1, T, V), or (1, classes)
        labels = batch.labels.flatten()
        return float(cross_entropy(logits.view(len(labels), -1), labels, ignore_index=IGNORE))
