"""The one interface of everything that is compared: edit, answer, give losses.

    edit(requests)         the next job of the sequence; state is kept
    answer(queries)        texts, by free greedy decoding
    losses(queries, texts) negative log-likelihood of given continuations, for perplexity

A method says what it does to the model in `acting`, a context around each batch. Batching, decoding
and scoring are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from melo_engine import Backbone, EditRequest, Prompt
from melo_engine.conversation import joint_question
from melo_engine.generating import texts_of
from melo_engine.training_examples import IGNORE, TrainingExample, example_batch
from melo_engine.types import TASKS, Task

BATCH = 32
ANSWER_TOKENS = 64  # of a text at most: longer than any target of the public sets


@dataclass(frozen=True)
class Asked:
    """Prompts, and the edit that each of them is about as the test knows it (None: no edit).

    Only the oracle may look at `owners`.
    """

    prompts: tuple[Prompt, ...]
    owners: tuple[str | None, ...]

    @classmethod
    def of(cls, prompts: Sequence[Prompt], owners: Sequence[str | None] = ()) -> Asked:
        return cls(tuple(prompts), tuple(owners) or (None,) * len(prompts))

    def rows(self, chosen: Sequence[int]) -> Asked:
        """Some of the prompts."""
        return Asked(tuple(self.prompts[i] for i in chosen), tuple(self.owners[i] for i in chosen))


@dataclass(frozen=True)
class Loss:
    """Of one continuation: the sum of -log p over its tokens, in nats, and how many they are."""

    nats: float
    tokens: int


class Method:
    """A way to edit a backbone. This one does nothing: the bare backbone, the lower bound.

    job: requests handed over in one call; for methods that train singly it changes nothing. tasks:
    of the backbones that it works on.
    """

    name = "none"
    job = 10
    tasks: tuple[Task, ...] = TASKS

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Take the next requests in. What was edited before stays in force as far as it can."""

    @contextmanager
    def acting(self, queries: Asked, prompt: Tensor) -> Iterator[None]:
        """Let the edits act on the forward passes of one batch.

        prompt: (B, T) bool, which positions of the batch's sequences hold prompt tokens.
        """
        yield

    def asks(self, queries: Asked) -> Asked:
        """The prompts as the model gets them; a method may put something before them."""
        return queries

    def untouched(self, prompts: Sequence[Prompt]) -> list[bool]:
        """Prompts on which, as the method itself says, nothing acts: they need no text of their own."""
        return [False] * len(prompts)

    def added_tokens(self, prompts: Sequence[Prompt]) -> float:
        """How many tokens the method puts before a prompt, on average."""
        queries = Asked.of(prompts)
        longer = self.asks(queries)
        if longer is queries or not prompts:
            return 0.0
        return (self._tokens(longer) - self._tokens(queries)) / len(prompts)

    def _tokens(self, queries: Asked) -> int:
        return sum(
            int(self.backbone.encode(queries.rows(rows).prompts)["attention_mask"].sum())
            for rows in _batches(queries.prompts)
        )

    def close(self) -> None:
        """Leave the backbone as it was."""

    @torch.inference_mode()
    def answer(self, queries: Asked, tokens: int = ANSWER_TOKENS) -> list[str]:
        """Texts in the order of the prompts, each of at most so many tokens; labels of a classifier."""
        queries = self.asks(queries)
        texts: list[str] = [""] * len(queries.prompts)
        for rows in _batches(queries.prompts):
            part = queries.rows(rows)
            encoded = self.backbone.encode(part.prompts)
            with self.acting(part, encoded["attention_mask"].bool()):
                generated = generate(self.backbone, encoded, tokens)
            for i, text in zip(rows, generated, strict=True):
                texts[i] = text
        return texts

    @torch.inference_mode()
    def losses(self, queries: Asked, texts: Sequence[str], *, end: bool = True) -> list[Loss]:
        """Losses of `texts` after their prompts, with the text's own tokens forced.

        end: count the end token too.
        """
        queries = self.asks(queries)
        losses: list[Loss] = [Loss(0.0, 0)] * len(texts)
        for rows in _batches(queries.prompts):
            part = queries.rows(rows)
            examples = [
                TrainingExample(
                    str(i), (queries.prompts[i],), tuple(self.backbone.encode_target(texts[i]))
                )
                for i in rows
            ]
            batch = example_batch(self.backbone, examples)
            with self.acting(part, prompt_part(self.backbone, batch.inputs, examples)):
                logits = batch.labelled_logits(self.backbone).float()  # (N, V)
            scored = batch.labels != IGNORE  # (B, T)
            nats = torch.zeros(scored.shape, device=logits.device)
            nats[scored] = cross_entropy(logits, batch.labels[scored], reduction="none")
            if not end:
                last = scored.long().cumsum(1) == scored.sum(1, keepdim=True)
                scored &= ~last
            for row, i in enumerate(rows):
                losses[i] = Loss(float(nats[row][scored[row]].sum()), int(scored[row].sum()))
        return losses


class Unedited(Method):
    """The bare backbone as a method to be compared: it acts on no prompt."""

    def untouched(self, prompts: Sequence[Prompt]) -> list[bool]:
        return [True] * len(prompts)


def generate(backbone: Backbone, encoded: dict[str, Tensor], tokens: int) -> list[str]:
    """Greedy texts of one encoded batch, or a classifier's labels."""
    return texts_of(backbone, encoded, {"max_new_tokens": min(tokens, backbone.max_answer_tokens)})


def _batches(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Positions in batches of prompts of like length."""
    order = sorted(range(len(prompts)), key=lambda i: len(joint_question(prompts[i])))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def prompt_part(
    backbone: Backbone, inputs: dict[str, Any], examples: Sequence[TrainingExample]
) -> Tensor:
    """(B, T) bool: the prompt's own positions in a teacher-forced batch."""
    real: Tensor = inputs["attention_mask"].bool()
    if backbone.task != "causal-lm":
        return real
    # prompt + target[:-1], padded on the left: the target's part is the last len(target) - 1.
    answer = torch.tensor([len(x.target) - 1 for x in examples], device=real.device)
    place = torch.arange(real.shape[1], device=real.device)
    return real & (place[None] < real.shape[1] - answer[:, None])
