"""Weights tuned by gradient descent: one shared LoRA in sequence, or one matrix breadth-first.

    lora       batch 1 until its targets lead, then batch 2, ...      one pair (A, B) a module
    finetune   epoch 1: all batches, epoch 2: all batches, ...        one matrix of one layer

Both work on a copy, the backbone stays as it is. What lies below the first module in training gives
the same output at every step, so it is run once and replayed: the same numbers, sooner.

LoRA: Hu et al., ICLR 2022, by PEFT: W x + (alpha / r) B A x, A drawn at random, B zero, W frozen.
Nothing protects what was learned before.

Fine-tuning: LocFT-BF, "Fine-tuning Done Right in Model Editing" (Yang et al., ICLR 2026, arXiv
2509.22072): the output projection of one MLP, all edits in one run of Adam at rate 5e-4, mini-batches
of 100 drawn anew in each of at most 25 epochs, the end token a part of every target. A batch whose
loss is below 0.01 makes no step, and an epoch whose mean loss is below that is the last. The layer
is searched for each model there, 22 of 32 and 6 of 28. Layer, rate and batch for few edits on a
small model: docs/protocol.md.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.baselines.base import Method
from benchmarks.baselines.layers import output_projection
from melo_engine import Backbone, EditRequest, PromptSettings
from melo_engine.frozen import FrozenPrefix
from melo_engine.training_examples import ExampleBatch, TrainingExample, example_batch, labels_only


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """batch: requests trained together. steps: most of them for each batch. rank: of the LoRA."""

    learning_rate: float = 5e-3
    batch: int = 10
    steps: int = 50
    rank: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LocalizedSettings:
    """depth: of the layer, as a share of the stack's height. enough: loss at which training ends."""

    learning_rate: float = 2e-3
    batch: int = 10
    epochs: int = 25
    depth: float = 0.75
    enough: float = 1e-2
    seed: int = 0


class SharedLora(Method):
    """One low-rank pair at each of the modules that MELO's blocks sit at; all else is frozen."""

    name = "lora"

    def __init__(self, backbone: Backbone, settings: TuningSettings | None = None) -> None:
        super().__init__(copied(backbone))
        self.settings = settings or TuningSettings()
        self.parameters = list(self._injected())

    def edit(self, requests: Sequence[EditRequest]) -> None:
        for start in range(0, len(requests), self.settings.batch):
            self._tune(requests[start : start + self.settings.batch])

    def _injected(self) -> Iterable[nn.Parameter]:
        model = self.backbone.model
        targets = self.backbone.surgery.targets
        modules = [model.get_submodule(name) for name in targets]
        config = LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.rank,
            target_modules=list(targets),
            fan_in_fan_out=not all(isinstance(m, nn.Linear) for m in modules),
        )
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            inject_adapter_in_model(config, model)
        model.eval()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
            if "lora_" in name:
                yield parameter

    def _tune(self, requests: Sequence[EditRequest]) -> None:
        prefix, batch = recorded(self.backbone, examples_of(self.backbone, requests), apart=True)
        labels = batch.labels[batch.labelled]  # (N,)
        optimiser = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate)
        for _ in range(self.settings.steps):
            with prefix.replay():
                logits = batch.labelled_logits(self.backbone).float()  # (N, V)
            if bool((logits.argmax(-1) == labels).all()):
                break
            loss = cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


class LocalizedFineTuning(Method):
    """One matrix of a copy is free, and sees all edits in every epoch."""

    name = "finetune"
    job = sys.maxsize  # breadth-first: an epoch goes over everything there is to edit

    def __init__(self, backbone: Backbone, settings: LocalizedSettings | None = None) -> None:
        super().__init__(copied(backbone))
        self.settings = settings or LocalizedSettings()
        self.module = output_projection(self.backbone, self.settings.depth)
        self.backbone.model.requires_grad_(False)
        self.weight: nn.Parameter = self.backbone.model.get_submodule(self.module).weight
        self.weight.requires_grad_()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        prefix, full_batch = recorded(self.backbone, examples_of(self.backbone, requests))
        optimiser = torch.optim.Adam([self.weight], lr=self.settings.learning_rate)
        order, drawn = list(range(len(requests))), random.Random(self.settings.seed)
        size = self.settings.batch
        for _ in range(self.settings.epochs):
            drawn.shuffle(order)
            total = 0.0
            for start in range(0, len(order), size):
                chosen = sorted(order[start : start + size])
                rows, batch = full_batch.keep(torch.tensor(chosen, device=self.backbone.device))
                with prefix.rows(rows).replay():
                    logits = batch.labelled_logits(self.backbone)  # (N, V)
                loss = mean_over_requests(logits, batch, len(chosen))
                total += loss.item() * len(chosen)
                if loss.item() >= self.settings.enough:
                    optimiser.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
            if total / len(order) < self.settings.enough:
                break


def recorded(
    backbone: Backbone, examples: Sequence[TrainingExample], *, apart: bool = False
) -> tuple[FrozenPrefix, ExampleBatch]:
    """Training examples as one batch, and a recording of what runs below the first module in training.

    apart: leave out positions without a label, where no attention runs above the first such module.
    """
    batch = example_batch(backbone, examples)
    free = [
        module
        for module in backbone.model.modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    with torch.no_grad():
        forward = partial(batch.labelled_logits, backbone)
        prefix, logits = FrozenPrefix.record(backbone.model, free, forward, len(batch.owner))
    prefix = prefix.without(free)
    return labels_only(backbone, prefix, batch, logits) if apart else (prefix, batch)


def mean_over_requests(logits: Tensor, batch: ExampleBatch, count: int) -> Tensor:
    """Each request's mean loss over its target's tokens, and of these the mean. logits: (N, V)."""
    labels, owner = batch.labels[batch.labelled], batch.label_owner  # (N,), (N,)
    losses = cross_entropy(logits.float(), labels, reduction="none")
    sums = torch.zeros(count, device=losses.device).index_add(0, owner, losses)
    return (sums / torch.bincount(owner, minlength=count)).mean()


def examples_of(backbone: Backbone, requests: Sequence[EditRequest]) -> list[TrainingExample]:
    """The requests as training examples; a classifier's target is its label."""

    def target(request: EditRequest) -> tuple[int, ...]:
        if not backbone.generates:
            return (backbone.label(request.target),)
        return tuple(backbone.encode_target(request.target))

    return [TrainingExample(r.id, (r.prompt,), target(r)) for r in requests]


def copied(backbone: Backbone) -> Backbone:
    """The same backbone around a fresh model of the same weights, without any hook of others."""
    model = type(backbone.model)(copy.deepcopy(backbone.model.config))
    model.load_state_dict(backbone.model.state_dict())
    model.generation_config = copy.deepcopy(getattr(backbone.model, "generation_config", None))
    model.eval()
    other = Backbone(
        model.to(backbone.device, backbone.dtype),
        backbone.tokenizer,
        backbone.task,
        surgery=backbone.surgery,
        name=backbone.name,
        prompts=PromptSettings(max_tokens=backbone.max_prompt_tokens),
    )
    other.target_tokenizer = backbone.target_tokenizer
    return other
