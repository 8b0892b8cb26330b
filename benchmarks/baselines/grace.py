"""GRACE: a codebook of values with radii at one layer.

    h (B, T, in) of the layer ─ last token of the prompt ─► query (B, in)
                                                             │ nearest key within its radius?
    layer's output (B, T, out) ◄── prompt's positions replaced by that key's value (out,)

A key is the query of an edit's prompt. A new key gets radius `initial`; near a key of the same
answer it enlarges that one's radius instead; near a key of another answer both radii become half
the distance. The value is trained on the edit's own loss, everything else stays frozen. Only what
the model gets wrong is edited.

Hartvigsen et al., NeurIPS 2023, "Aging with GRACE", section 3 and algorithm 1; numbers as published
there: Adam at rate 1.0, 100 steps for each edit, radius 1.0, values drawn from U(0, 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.baselines.base import Asked, Method, prompt_part
from benchmarks.baselines.layers import grace_layer
from melo_engine import Backbone, EditRequest
from melo_engine.frozen import FrozenPrefix
from melo_engine.surgery import projection_sizes
from melo_engine.training_examples import TrainingExample, example_batch


@dataclass(frozen=True, slots=True)
class GraceSettings:
    """initial: radius of a new key. layer: module name; three quarters up the stack where None."""

    initial: float = 1.0
    steps: int = 100
    learning_rate: float = 1.0
    layer: str | None = None
    seed: int = 0


class Codebook:
    """Keys (N, in), values (N, out), radii (N,) and the answer of each key."""

    def __init__(self, size_in: int, size_out: int, initial: float, device: torch.device) -> None:
        self.keys = torch.empty(0, size_in, device=device)
        self.values = torch.empty(0, size_out, device=device)
        self.radii = torch.empty(0, device=device)
        self.answers: list[tuple[int, ...]] = []
        self.initial = initial

    def find(self, query: Tensor) -> Tensor:
        """Row of the key that holds each query (B, in): (B,) int64, -1 outside every radius."""
        if not len(self.keys):
            return torch.full((len(query),), -1, device=query.device)
        distance, row = _distances(query, self.keys).min(1)  # (B,), (B,)
        return torch.where(distance <= self.radii[row], row, -1)

    def place(self, query: Tensor, answer: tuple[int, ...], value: Tensor) -> int:
        """Take the query (in,) of an edit in; return the row whose value is to be trained."""
        if not len(self.keys):
            return self._add(query, answer, value, self.initial)
        distances = _distances(query[None], self.keys)[0]  # (N,)
        distance, near = float(distances.min()), int(distances.argmin())
        if distance > self.initial + float(self.radii[near]):
            return self._add(query, answer, value, self.initial)
        if self.answers[near] == answer:
            self.radii[near] = max(float(self.radii[near]), distance)
            return near
        self.radii[near] = distance / 2 - 1e-5
        return self._add(query, answer, value, distance / 2)

    def _add(self, query: Tensor, answer: tuple[int, ...], value: Tensor, radius: float) -> int:
        self.keys = torch.cat([self.keys, query[None]])
        self.values = torch.cat([self.values, value[None]])
        self.radii = torch.cat([self.radii, self.radii.new_tensor([radius])])
        self.answers.append(answer)
        return len(self.answers) - 1


def _distances(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, in), (N, in) -> (B, N), Euclidean; by differences, since products lose small distances."""
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")


class Grace(Method):
    """The adaptor at one layer, as a hook; the model's modules and weights stay as they are."""

    name = "grace"

    def __init__(self, backbone: Backbone, settings: GraceSettings | None = None) -> None:
        super().__init__(backbone)
        self.settings = settings or GraceSettings()
        self.layer = self.settings.layer or grace_layer(backbone)
        module: nn.Module = backbone.model.get_submodule(self.layer)
        self.sizes = projection_sizes(module)
        self.codebook = Codebook(*self.sizes, self.settings.initial, backbone.device)
        self._handle = module.register_forward_hook(self._hook)
        self._prompt: Tensor | None = None  # (B, T) of the batch under way
        self._forced: Tensor | None = None  # (out,), the value in training
        self._last_queries: Tensor | None = None  # (B, in), the queries of the last batch
        self._random = torch.Generator().manual_seed(self.settings.seed)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        for request in requests:
            if self.answer(Asked.of([request.question]))[0] != self._expected(request):
                self._learn(request)

    @contextmanager
    def acting(self, queries: Asked, prompt: Tensor) -> Iterator[None]:
        self._prompt = prompt
        try:
            yield
        finally:
            self._prompt = None

    def close(self) -> None:
        self._handle.remove()

    def _learn(self, request: EditRequest) -> None:
        """Place the prompt's key, then train the value that it falls to."""
        example = TrainingExample(request.id, (request.question,), self._target(request))
        batch = example_batch(self.backbone, [example])
        prompt = prompt_part(self.backbone, batch.inputs, [example])
        module: nn.Module = self.backbone.model.get_submodule(self.layer)
        with torch.no_grad(), self.acting(Asked.of([request.question]), prompt):
            forward = partial(batch.labelled_logits, self.backbone)
            below, _ = FrozenPrefix.record(self.backbone.model, [module], forward, 1)
        assert self._last_queries is not None
        fresh = torch.rand(self.sizes[1], generator=self._random).to(self.codebook.values)
        row = self.codebook.place(self._last_queries[0], example.target, fresh)
        value = self.codebook.values[row].clone().requires_grad_()
        optimiser = torch.optim.Adam([value], lr=self.settings.learning_rate)
        for _ in range(self.settings.steps):
            self._forced = value
            try:
                with (
                    torch.enable_grad(),
                    below.replay(),
                    self.acting(Asked.of([request.question]), prompt),
                ):
                    logits = batch.labelled_logits(self.backbone).float()  # (N, V)
            finally:
                self._forced = None
            loss = cross_entropy(logits, batch.labels[batch.labelled])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self.codebook.values[row] = value.detach()

    def _hook(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
        if self._prompt is None or inputs[0].shape[1] != self._prompt.shape[1]:
            return None  # a later step of decoding: the prompt's positions are in the cache
        prompt = self._prompt  # (B, T)
        place = torch.arange(prompt.shape[1], device=prompt.device)
        last = torch.where(prompt, place, -1).amax(1)  # (B,)
        query = inputs[0][torch.arange(len(last), device=last.device), last].float()  # (B, in)
        self._last_queries = query.detach()
        if self._forced is not None:
            value, caught = self._forced.expand(len(query), -1), torch.ones_like(last).bool()
        else:
            row = self.codebook.find(query)
            if not bool((row >= 0).any()):
                return None
            value, caught = self.codebook.values[row.clamp(min=0)], row >= 0
        replaced = (prompt & caught[:, None])[..., None]  # (B, T, 1)
        return torch.where(replaced, value[:, None].to(output.dtype), output)

    def _target(self, request: EditRequest) -> tuple[int, ...]:
        if not self.backbone.generates:
            return (self.backbone.label(request.target),)
        return tuple(self.backbone.encode_target(request.target))

    def _expected(self, request: EditRequest) -> str:
        if not self.backbone.generates:
            return request.target
        return self.backbone.canonical(request.target)
