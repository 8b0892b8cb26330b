"""Train the blocks of many edits at once: one forward and backward pass for a chunk of them.

No parameter is shared between blocks and NAdam works element by element, so a step for all is the
same as a step for each alone. A block whose targets lead at every token by the margin, and that is
sure of them, is taken out of the batch at once: momentum would move it on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from melo_engine.backbone import Backbone
from melo_engine.errors import TrainingError
from melo_engine.frozen import FrozenPrefix
from melo_engine.initialization import first_pairs
from melo_engine.runtime import Pass
from melo_engine.shared_prefixes import SharedPrefixes
from melo_engine.surgery import projection_sizes
from melo_engine.training_examples import ExampleBatch, TrainingExample, example_batch, labels_only
from melo_engine.types import EditSettings

MORE_STEPS, SLOWER = 5, 0.3  # of each further try
TOKENS_A_RANK = 2  # of the target


@dataclass(slots=True)
class Trained:
    """One trained block. pairs[i]: A (in, r), B (r, out) of target i.

    lead: of the target, the smallest at any token of any prompt, in standard deviations of the
    backbone's own logits there.
    """

    id: str
    pairs: list[tuple[Tensor, Tensor]]
    steps: int
    lead: float


def first_rank(settings: EditSettings, tokens: int) -> int:
    """Rank of the first try: doubled while there are more than `TOKENS_A_RANK` tokens to say for each."""
    rank = settings.rank
    while rank * TOKENS_A_RANK < tokens and rank < settings.max_rank:
        rank = min(2 * rank, settings.max_rank)
    return rank


def attempts(settings: EditSettings, rank: int) -> Iterator[tuple[int, EditSettings]]:
    """Rank and settings of each try: a quick one at `rank`, then slower ones of more rank and steps.

    As many as `settings.rank` and its doublings up to `max_rank`, whatever the first rank. The wider a
    block, the more one step moves it, so its rate is lower by the root.
    """
    steps, rate = settings.max_steps, settings.learning_rate
    first = rate * math.sqrt(settings.rank / rank)
    for number in range(1 + int(math.log2(settings.max_rank // settings.rank))):
        yield rank, replace(settings, max_steps=steps, learning_rate=first if not number else rate)
        rank, steps = min(2 * rank, settings.max_rank), steps * MORE_STEPS
        rate = settings.learning_rate * SLOWER


def train_chunk(
    backbone: Backbone,
    examples: Sequence[TrainingExample],
    settings: EditSettings,
    rank: int,
    prefixes: SharedPrefixes | None = None,
) -> list[Trained]:
    """Train a block for each example, all in one batch. Returns them in the order of the examples.

    prefixes: what the examples' prompts begin with, where that is read once for many chunks.

    Raises TrainingError where a loss is not a number; torch's out-of-memory error passes through.
    """
    recording, batch, inputs = _recorded(backbone, example_batch(backbone, examples), prefixes)
    owner = batch.label_owner
    stacks = [
        first_pairs(x, owner, projection_sizes(target), examples, rank, settings)
        for x, target in zip(inputs, backbone.runtime.targets, strict=True)
    ]
    optimiser = _NAdam([t for pair in stacks for t in pair], settings.learning_rate)
    alive = torch.arange(len(examples))
    done: list[Trained | None] = [None] * len(examples)
    for step in range(1, settings.max_steps + 1):
        parameters = [(a.requires_grad_(), b.requires_grad_()) for a, b in stacks]
        blocks = batch.blocks(parameters, backbone.dtype)
        with torch.enable_grad(), backbone.runtime.running(Pass(blocks)), recording.replay():
            logits = batch.labelled_logits(backbone)
        losses, margins = _losses(logits, batch, len(alive))
        if not torch.isfinite(losses).all():
            bad = [examples[int(alive[i])].id for i in (~torch.isfinite(losses)).nonzero()[:, 0]]
            raise TrainingError(
                f"the loss of edit {', '.join(bad)} is not a number at step {step}. "
                "Lower edit.learning_rate."
            )
        enough = settings.margin if step <= settings.patience else settings.margin / 2
        sure = batch.mean_losses(losses) <= math.log(settings.perplexity)
        finished = (margins >= enough) & sure  # (n,)
        last = step == settings.max_steps
        leaving = torch.ones_like(finished) if last else finished
        for i in leaving.nonzero()[:, 0].tolist():
            done[int(alive[i])] = Trained(
                examples[int(alive[i])].id,
                [(a[i].detach().clone(), b[i].detach().clone()) for a, b in stacks],
                step - 1,
                float(margins[i]),
            )
        if bool(leaving.all()):
            break
        grads = torch.autograd.grad(losses.sum(), [t for pair in parameters for t in pair])
        flat = [t.detach() for pair in stacks for t in pair]
        optimiser.step(flat, grads)
        if bool(finished.any()):
            keep = (~finished).nonzero()[:, 0]
            alive = alive[keep.cpu()]
            flat = [t[keep] for t in flat]
            optimiser.keep(keep)
            rows, batch = batch.keep(keep)
            recording = recording.rows(rows)
        stacks = list(zip(flat[0::2], flat[1::2], strict=True))
    return [t for t in done if t is not None]


@torch.no_grad()
def _recorded(
    backbone: Backbone, whole: ExampleBatch, prefixes: SharedPrefixes | None
) -> tuple[FrozenPrefix, ExampleBatch, list[Tensor]]:
    """A recording of what the blocks don't change, and the batch that each step still computes.

    And each target's inputs (N, in) at the labelled positions, as they are without a block.
    """
    behind, batch = (prefixes and prefixes.shorten(whole)) or (whole, whole)
    targets = backbone.runtime.targets
    inputs: dict[int, Tensor] = {}

    def keep(target: Any, args: tuple[Tensor, ...]) -> None:
        inputs[id(target)] = batch.at_labels(args[0])

    hooks = [target.register_forward_pre_hook(keep) for target in targets]
    try:
        recording, logits = FrozenPrefix.record(
            backbone.model,
            targets,
            partial(behind.labelled_logits, backbone),
            len(batch.owner),
        )
    finally:
        for hook in hooks:
            hook.remove()
    batch.scale[batch.labelled] = logits.float().std(-1)
    kept, cut = labels_only(backbone, recording, batch, logits)
    if (
        prefixes is not None
        and batch is not whole
        and (cut is batch or not prefixes.hold(logits, whole, backbone))
    ):
        return _recorded(backbone, whole, None)
    return kept, cut, [inputs[id(t)] for t in targets]


def _losses(logits: Tensor, batch: ExampleBatch, examples: int) -> tuple[Tensor, Tensor]:
    """Each example's loss (n,), summed over tokens and views, and its smallest margin (n,)."""
    place = batch.labelled  # (rows, T) or (rows,)
    labels, scale = batch.labels[place], batch.scale[place]  # (N,)
    owner = batch.label_owner  # (N,)
    logits = logits.float()  # (N, V)
    token_loss = cross_entropy(logits, labels, reduction="none")
    losses = torch.zeros(examples, device=logits.device).index_add(0, owner, token_loss)
    with torch.no_grad():
        target = logits.gather(-1, labels[:, None])[:, 0]
        rival = logits.scatter(-1, labels[:, None], -math.inf).amax(-1)
        margins = torch.full((examples,), math.inf, device=logits.device)
        margins = margins.scatter_reduce(0, owner, (target - rival) / scale, "amin")
    return losses, margins


class _NAdam:
    """Adam with Nesterov's momentum (Dozat 2016), element by element; its state can be cut down.

    It forgets the size of old gradients sooner than the usual 0.999: a block trains for some ten steps.
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float) -> None:
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.rate, self.count = rate, 0

    def step(self, parameters: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        self.count += 1
        fast, slow = 1 - 0.9**self.count, 1 - 0.99**self.count
        for p, g, m, v in zip(parameters, grads, self.means, self.squares, strict=True):
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.99).addcmul_(g, g, value=0.01)
            ahead = (0.9 * m).add_(g, alpha=0.1).div_(fast)
            p.addcdiv_(ahead, (v / slow).sqrt_().add_(1e-8), value=-self.rate)

    def keep(self, rows: Tensor) -> None:
        self.means = [m[rows] for m in self.means]
        self.squares = [v[rows] for v in self.squares]
