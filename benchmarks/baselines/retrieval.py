"""The edit goes into the prompt, the model stays as it is: for models with one stack.

    memory: one line an edit, found by the cosine of mean hidden states
    "New fact: {prompt} {target}\\n{query}" ─► model

IKE (Zheng et al., EMNLP 2023, "Can We Edit Factual Knowledge by In-Context Learning?"), with the
retrieved facts and without its hand-made demonstrations. It never abstains: every prompt gets the
nearest facts, whatever it asks. A prompt that would no longer fit is asked as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from benchmarks.baselines.base import Asked, Method
from melo_engine import Backbone, Conversation, EditRequest, Message, Prompt
from melo_engine.conversation import asked as asked_text
from melo_engine.encoders import default_encoder
from melo_engine.keys import KeyReader

FACT = "New fact: {prompt} {target}\n"


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """facts: how many go before a prompt."""

    facts: int = 1


class Retrieval(Method):
    """Puts the nearest facts before the prompt of a causal model."""

    name = "retrieval"
    tasks = ("causal-lm",)

    def __init__(self, backbone: Backbone, settings: RetrievalSettings | None = None) -> None:
        super().__init__(backbone)
        self.settings = settings or RetrievalSettings()
        if self.settings.facts > 1:
            self.name = f"retrieval-{self.settings.facts}"
        self.reader = KeyReader(default_encoder(backbone))
        self.memory: list[EditRequest] = []
        self.index = faiss.IndexFlatIP(self.reader.projection.hidden_size)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        self.index.add(self._embedded([r.question for r in requests]))
        self.memory += requests

    def asks(self, queries: Asked) -> Asked:
        if not self.memory:
            return queries
        count = min(self.settings.facts, len(self.memory))
        _, rows = self.index.search(self._embedded(queries.prompts), count)
        prompts = []
        for prompt, near in zip(queries.prompts, rows, strict=True):
            facts = [
                self.memory[i] for i in reversed(near)
            ]  # the nearest stands next to the prompt
            before = "".join(FACT.format(prompt=f.question, target=f.target) for f in facts)
            longer = _with_facts(before, prompt)
            prompts.append(longer if self.backbone.takes(longer) else prompt)
        return Asked(tuple(prompts), queries.owners)

    def _embedded(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """(N, H): the mean over a prompt's own tokens, of unit length."""
        keys = self.reader.read([asked_text(p) for p in prompts])
        means: np.ndarray = keys[:, self.reader.projection.relation_size :]
        return np.ascontiguousarray(means)


def _with_facts(before: str, prompt: Prompt) -> Prompt:
    """The prompt with facts before what is asked."""
    if isinstance(prompt, str):
        return before + prompt
    *earlier, last = prompt.messages
    return Conversation((*earlier, Message(last.role, before + last.content)))
