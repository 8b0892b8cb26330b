"""One shared LoRA, or all weights, tuned in sequence: what everybody tries first.

Each batch of requests is trained with Adam until every target token leads, or the steps are spent;
then comes the next batch. Nothing protects what was learned before. The model is a copy, the
backbone stays as it is.

LoRA: Hu et al., ICLR 2022, by PEFT: W x + (alpha / r) B A x, A drawn at random, B zero, W frozen.
Fine-tuning with an early stop once the edit is right: the baseline "FT" of GRACE and MELO.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.baselines.base import Method
from melo_engine import Backbone, EditRequest
from melo_engine.lessons import IGNORE, Lesson, lesson_batch


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """batch: requests trained together. steps: most of them for each batch. rank: of the LoRA."""

    learning_rate: float
    batch: int = 10
    steps: int = 50
    rank: int = 8
    seed: int = 0


class FineTuning(Method):
    """Every weight of a copy is free."""

    name = "finetune"
    rate = 5e-4

    def __init__(self, backbone: Backbone, settings: TuningSettings | None = None) -> None:
        super().__init__(_copied(backbone))
        self.settings = settings or TuningSettings(self.rate)
        self.parameters = list(self._free())

    def edit(self, requests: Sequence[EditRequest]) -> None:
        for start in range(0, len(requests), self.settings.batch):
            self._tune(requests[start : start + self.settings.batch])

    def _free(self) -> Iterable[nn.Parameter]:
        """The parameters that are trained, in a form in which they can be."""
        for parameter in self.backbone.model.parameters():
            yield parameter.requires_grad_()

    def _tune(self, requests: Sequence[EditRequest]) -> None:
        lessons = [Lesson(r.id, (r.prompt,), _target(self.backbone, r)) for r in requests]
        batch = lesson_batch(self.backbone, lessons)
        optimiser = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate)
        for _ in range(self.settings.steps):
            logits = batch.forward(self.backbone).float()
            scored = batch.labels != IGNORE
            if bool((logits.argmax(-1) == batch.labels)[scored].all()):
                break
            loss = cross_entropy(logits.flatten(0, -2), batch.labels.flatten(), ignore_index=IGNORE)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


class SharedLora(FineTuning):
    """One low-rank pair at each of the modules that MELO's blocks sit at; all else is frozen."""

    name = "lora"
    rate = 5e-3

    def _free(self) -> Iterable[nn.Parameter]:
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


def _copied(backbone: Backbone) -> Backbone:
    """The same backbone around a fresh model of the same weights, without any hook of others."""
    model = type(backbone.model)(copy.deepcopy(backbone.model.config))
    model.load_state_dict(backbone.model.state_dict())
    model.generation_config = copy.deepcopy(getattr(backbone.model, "generation_config", None))
    return Backbone(
        model.to(backbone.device, backbone.dtype),
        backbone.tokenizer,
        backbone.task,
        target_tokenizer=backbone.target_tokenizer,
        surgery=backbone.surgery,
        name=backbone.name,
        max_prompt_tokens=backbone.max_prompt_tokens,
    )


def _target(backbone: Backbone, request: EditRequest) -> tuple[int, ...]:
    if not backbone.generates:
        return (backbone.label(request.target),)
    return tuple(backbone.encode_target(request.target))
