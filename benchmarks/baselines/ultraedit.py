"""UltraEdit: one closed-form shift of weights for each turn of edits, without training.

    prompts and targets ─ one pass forward and back ─► at each module, of every answer token:
        h (in,)   what went in
        v (out,)  gradient of the loss in what came out
    (h, v) ─ running mean and deviation over all edits so far ─► (h', v')
    wanted change of the output:  -rate ‖h'‖² v'
    shift of the weight:          (HᵀH + I)⁻¹ Hᵀ V      the ridge regression from H to V

Gu et al., "UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in Language Models" (TMLR,
arXiv 2505.14679), algorithm 1: turns of 100 edits in passes of 10, statistics shared by modules of one
shape, projections into the MLP of layers in the middle and above, rate 1e-6 on models of 4,096
dimensions. Layers, rate and tokens (all, or those that predict the answer) are chosen for each model
there; here see docs/protocol.md. The model is a copy, the backbone stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.baselines.base import Method
from benchmarks.baselines.layers import input_projections
from benchmarks.baselines.tuning import copied, examples_of
from melo_engine import Backbone, EditRequest
from melo_engine.training_examples import example_batch


@dataclass(frozen=True, slots=True)
class UltraEditSettings:
    """low, high: the layers, as shares of the stack's height. batch: edits of one pass."""

    learning_rate: float = 1e-4
    low: float = 0.4
    high: float = 0.8
    batch: int = 10


class RunningStatistics:
    """Mean and deviation of each feature over everything seen so far (Welford, by batches)."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(size, device=device)
        self._squares = torch.zeros(size, device=device)  # summed squared deviations from the mean

    def update(self, features: Tensor) -> None:
        """features: (N, F)."""
        new, count = len(features), self.count + len(features)
        gap = features.mean(0) - self.mean
        self._squares += (features - features.mean(0)).square().sum(0)
        self._squares += gap.square() * self.count * new / count
        self.mean += gap * new / count
        self.count = count

    def normalized(self, features: Tensor) -> Tensor:
        """(N, F) with mean 0 and deviation 1, as far as these are known."""
        deviation = (self._squares / max(self.count - 1, 1)).sqrt()
        return (features - self.mean) / (deviation + torch.finfo(features.dtype).eps)


class UltraEdit(Method):
    """Shifts the weights of some modules by what the normalized gradients of a turn ask for."""

    name = "ultraedit"
    job = 100  # a turn

    def __init__(self, backbone: Backbone, settings: UltraEditSettings | None = None) -> None:
        super().__init__(copied(backbone))
        self.settings = settings or UltraEditSettings()
        self.backbone.model.requires_grad_(False)
        self.modules = input_projections(self.backbone, self.settings.low, self.settings.high)
        self.statistics: dict[tuple[int, int], RunningStatistics] = {}

    def edit(self, requests: Sequence[EditRequest]) -> None:
        inputs: dict[str, list[Tensor]] = defaultdict(list)
        gradients: dict[str, list[Tensor]] = defaultdict(list)
        for start in range(0, len(requests), self.settings.batch):
            by_module = self._gradients(requests[start : start + self.settings.batch])
            for name, (hidden, gradient) in by_module.items():
                self._statistics_of(name, hidden, gradient).update(torch.cat([hidden, gradient], 1))
                inputs[name].append(hidden)
                gradients[name].append(gradient)
        for name in self.modules:
            self._shift(name, torch.cat(inputs[name]), torch.cat(gradients[name]))

    def _gradients(self, requests: Sequence[EditRequest]) -> dict[str, tuple[Tensor, Tensor]]:
        """By module: inputs (N, in) and gradients in the outputs (N, out), of the tokens that count.

        Of one stack these are the tokens that predict the answer, of an encoder all.
        """
        batch = example_batch(self.backbone, examples_of(self.backbone, requests))
        real = batch.inputs["attention_mask"].bool()  # (B, T)
        if self.backbone.task == "causal-lm":
            real = torch.zeros_like(real)
            real[:, -batch.labels.shape[1] :] = batch.labelled
        inputs: dict[str, Tensor] = {}
        changes: dict[
            str, Tensor
        ] = {}  # zeros added to the outputs: their gradient is the outputs'

        def hook(name: str) -> Any:
            def changed(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
                inputs[name] = args[0].detach()[real].float()
                changes[name] = torch.zeros_like(output, requires_grad=True)
                return output + changes[name]

            return changed

        handles = [
            self.backbone.model.get_submodule(name).register_forward_hook(hook(name))
            for name in self.modules
        ]
        try:
            with torch.enable_grad():
                logits = batch.labelled_logits(self.backbone).float()  # (N, V)
                loss = cross_entropy(logits, batch.labels[batch.labelled])
            gradients = torch.autograd.grad(loss, [changes[name] for name in self.modules])
        finally:
            for handle in handles:
                handle.remove()
        return {
            name: (inputs[name], gradient[real].float())
            for name, gradient in zip(self.modules, gradients, strict=True)
        }

    def _shift(self, name: str, hidden: Tensor, gradient: Tensor) -> None:
        statistics = self._statistics_of(name, hidden, gradient)
        normal = statistics.normalized(torch.cat([hidden, gradient], 1))
        keys, values = normal[:, : hidden.shape[1]], normal[:, hidden.shape[1] :]
        wanted = -self.settings.learning_rate * keys.square().sum(1, keepdim=True) * values
        shift = ridge(hidden, wanted)  # (in, out)
        module = self.backbone.model.get_submodule(name)
        if isinstance(module, nn.Linear):
            shift = shift.T
        module.weight.data += shift.to(module.weight.dtype)

    def _statistics_of(self, name: str, hidden: Tensor, gradient: Tensor) -> RunningStatistics:
        shape = (hidden.shape[1], gradient.shape[1])
        if shape not in self.statistics:
            self.statistics[shape] = RunningStatistics(sum(shape), hidden.device)
        return self.statistics[shape]


def ridge(inputs: Tensor, outputs: Tensor) -> Tensor:
    """W (in, out) that makes ‖inputs W - outputs‖² + ‖W‖² least. inputs (N, in), outputs (N, out)."""
    gram = inputs.T @ inputs + torch.eye(inputs.shape[1], device=inputs.device)
    shift: Tensor = torch.linalg.solve(gram, inputs.T @ outputs)
    return shift
