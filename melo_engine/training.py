"""Train the blocks of many edits at once: one forward and backward pass for a chunk of them.

No parameter is shared between blocks and NAdam works element by element, so a step for all is the
same as a step for each alone. A block whose targets lead at every token by the margin, and that is
sure of them, is taken out of the batch at once: momentum would move it on. What counts in the end
is free decoding: a block that does not decode to its targets is trained again with twice the rank.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import BaseModelOutput

from melo_engine.backbone import Backbone
from melo_engine.blocks import GatheredBlocks
from melo_engine.errors import TrainingError
from melo_engine.frozen import FrozenPrefix, cut_rows
from melo_engine.runtime import Pass, Runtime
from melo_engine.surgery import projection_sizes
from melo_engine.types import EditSettings

IGNORE = -100
MORE_STEPS, SLOWER = 5, 0.3  # of each further try
TOKENS_A_RANK = 2  # of the target


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one block has to learn: each of `prompts` is to be answered with `target`.

    target: token ids with the end token, or [label] for a classifier. states: (T, H), the encoder's
    output for the first prompt, where it is known already.
    """

    id: str
    prompts: tuple[str, ...]
    target: tuple[int, ...]
    states: Tensor | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class Trained:
    """One trained block. pairs[i]: A (in, r), B (r, out) of target i. learned: the margin was reached."""

    id: str
    pairs: list[tuple[Tensor, Tensor]]
    steps: int
    learned: bool
    loss: float


def first_rank(settings: EditSettings, tokens: int) -> int:
    """Rank of the first try: doubled while there are more than `TOKENS_A_RANK` tokens to say for each."""
    rank = settings.rank
    while rank * TOKENS_A_RANK < tokens and rank < settings.max_rank:
        rank = min(2 * rank, settings.max_rank)
    return rank


def attempts(settings: EditSettings, rank: int) -> Iterator[tuple[int, EditSettings]]:
    """Rank and settings of each try, from this rank on: a quick one, then slower ones with more of both.

    As many as there are doublings from `settings.rank` to `max_rank`, wherever they begin. The wider a
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
    runtime: Runtime,
    lessons: Sequence[Lesson],
    settings: EditSettings,
    rank: int,
    on_step: Callable[[int], None] | None = None,
) -> list[Trained]:
    """Train a block for each lesson, all in one batch. Returns them in the order of the lessons.

    Raises TrainingError where a loss is not a number; torch's out-of-memory error passes through.
    """
    batch = lesson_batch(backbone, lessons)
    prefix: FrozenPrefix | None = None
    stacks = [
        _initial_pair(target, lessons, rank, settings, backbone.device)
        for target in runtime.targets
    ]
    optimiser = _NAdam([t for pair in stacks for t in pair], settings.learning_rate)
    alive = torch.arange(len(lessons))
    done: list[Trained | None] = [None] * len(lessons)
    for step in range(1, settings.max_steps + 1):
        parameters = [(a.requires_grad_(), b.requires_grad_()) for a, b in stacks]
        with torch.enable_grad(), runtime.running(Pass(batch.blocks(parameters, backbone.dtype))):
            if prefix is None:  # no block says anything yet: these are the backbone's own logits
                forward = partial(batch.labelled_logits, backbone)
                prefix, logits = FrozenPrefix.record(
                    backbone.model, runtime.targets, forward, len(batch.owner)
                )
                batch.scale[batch.labelled] = logits.detach().float().std(-1)
            else:
                with prefix.replay():
                    logits = batch.labelled_logits(backbone)
        losses, margins = _losses(logits, batch, len(alive))
        if not torch.isfinite(losses).all():
            bad = [lessons[int(alive[i])].id for i in (~torch.isfinite(losses)).nonzero()[:, 0]]
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
                lessons[int(alive[i])].id,
                [(a[i].detach().clone(), b[i].detach().clone()) for a, b in stacks],
                step - 1,
                bool(finished[i]),
                float(losses[i].detach()),
            )
        if on_step is not None:
            on_step(int(leaving.sum()))
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
            prefix = prefix.rows(rows)
        stacks = list(zip(flat[0::2], flat[1::2], strict=True))
    return [t for t in done if t is not None]


@dataclass(slots=True)
class LessonBatch:
    """Prompts and targets of some lessons as one teacher-forced batch.

    inputs: keyword arguments of the model's forward. owner: (rows,) lesson of each row. labels:
    (rows, T) target ids with IGNORE elsewhere, for the last T positions of the sequence; (rows,) class
    ids for a classifier. scale: like labels, standard deviation of the backbone's own logits.
    """

    inputs: dict[str, Any]
    owner: Tensor
    labels: Tensor
    scale: Tensor

    @property
    def labelled(self) -> Tensor:
        """Where a label stands: a mask over `labels`, with N true entries."""
        return self.labels != IGNORE

    def blocks(
        self, parameters: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype
    ) -> GatheredBlocks:
        """The lessons' own A (n, in, r) and B (n, r, out), laid out for the rows of this batch.

        Where all lessons have as many rows they act on theirs together, with no copy for each row.
        """
        count = len(parameters[0][0])
        even = torch.arange(count, device=self.owner.device).repeat_interleave(
            max(1, len(self.owner) // count)
        )
        if torch.equal(self.owner, even):
            pairs = tuple((a.to(dtype), b.to(dtype)) for a, b in parameters)
        else:
            count = len(self.owner)
            pairs = tuple((a[self.owner].to(dtype), b[self.owner].to(dtype)) for a, b in parameters)
        return GatheredBlocks(torch.arange(count, device=self.owner.device), count, pairs)

    def mean_losses(self, losses: Tensor) -> Tensor:
        """Each lesson's loss (n,) a label, in nats."""
        rows = self.owner[self.labelled.nonzero()[:, 0]]
        return losses.detach() / torch.bincount(rows, minlength=len(losses))

    def forward(self, backbone: Backbone) -> Tensor:
        """Logits (rows, T, V), or (rows, classes)."""
        logits: Tensor = backbone.model(**self.inputs).logits
        if self.labels.dim() == 1:
            return logits
        return logits[:, -self.labels.shape[1] :]

    def labelled_logits(self, backbone: Backbone) -> Tensor:
        """Logits (N, V) at the labelled positions, or (rows, classes).

        The vocabulary is by far the widest layer, so it is computed for no other position.
        """
        if self.labels.dim() == 1:
            return self.forward(backbone)
        labelled = self.labelled  # (rows, T)

        def only_labelled(head: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (args[0][:, -labelled.shape[1] :][labelled][None],)  # (1, N, H)

        hook = backbone.model.get_output_embeddings().register_forward_pre_hook(only_labelled)
        try:
            logits: Tensor = backbone.model(**self.inputs).logits  # (1, N, V)
        finally:
            hook.remove()
        return logits[0]

    def keep(self, lessons: Tensor) -> tuple[Tensor, LessonBatch]:
        """Cut down to some lessons, by position. Returns the rows kept and the smaller batch."""
        new = torch.full((int(self.owner.max()) + 1,), -1, device=self.owner.device)
        new[lessons] = torch.arange(len(lessons), device=self.owner.device)
        owner = new[self.owner]
        rows = (owner >= 0).nonzero()[:, 0]
        inputs = {k: cut_rows(v, rows, len(owner)) for k, v in self.inputs.items()}
        return rows, LessonBatch(inputs, owner[rows], self.labels[rows], self.scale[rows])


def lesson_batch(backbone: Backbone, lessons: Sequence[Lesson]) -> LessonBatch:
    """Tokenize and pad; see LessonBatch."""
    prompts = [p for lesson in lessons for p in lesson.prompts]
    owner = torch.tensor(
        [i for i, lesson in enumerate(lessons) for _ in lesson.prompts], device=backbone.device
    )
    targets = [list(lessons[i].target) for i in owner.tolist()]
    if backbone.task == "sequence-classification":
        encoded = backbone.encode(prompts)
        labels = torch.tensor([t[0] for t in targets], device=backbone.device)
        return LessonBatch(
            dict(encoded), owner, labels, torch.ones_like(labels, dtype=torch.float32)
        )
    width = max(len(t) for t in targets)
    if backbone.task == "seq2seq-lm":
        starts = accumulate((len(x.prompts) for x in lessons), initial=0)
        known = {
            row: x.states for row, x in zip(starts, lessons, strict=False) if x.states is not None
        }
        inputs = encoder_inputs(backbone, prompts, known)
        labels = torch.tensor([t + [IGNORE] * (width - len(t)) for t in targets])
        decoder = torch.tensor(
            [
                [backbone.start_token, *t[:-1]] + [backbone.end_token] * (width - len(t))
                for t in targets
            ]
        )
        inputs["decoder_input_ids"] = decoder.to(backbone.device)
        inputs["use_cache"] = False
        labels = labels.to(backbone.device)
        return LessonBatch(inputs, owner, labels, torch.ones_like(labels, dtype=torch.float32))
    return _causal_batch(backbone, prompts, owner, targets)


@torch.no_grad()
def encoder_inputs(
    backbone: Backbone, prompts: Sequence[str], known: Mapping[int, Tensor]
) -> dict[str, Any]:
    """Inputs of an encoder-decoder, the encoder's output for the prompts of `known` taken from there.

    known: row -> states (T, H). With none known the model runs its encoder itself.
    """
    inputs: dict[str, Any] = dict(backbone.encode(prompts, padding_side="right"))
    if not known:
        return inputs
    ids, mask = inputs.pop("input_ids"), inputs["attention_mask"]
    inputs = {"attention_mask": mask}  # (B, T)
    width = next(iter(known.values())).shape[-1]
    hidden = torch.zeros(*ids.shape, width, dtype=backbone.dtype, device=backbone.device)
    others = [row for row in range(len(prompts)) if row not in known]
    for places, batch in backbone.encode_alike([prompts[row] for row in others]):
        read = backbone.model.get_encoder()(**batch).last_hidden_state  # (b, t, H)
        hidden[[others[i] for i in places], : read.shape[1]] = read.to(hidden.dtype)
    for row, states in known.items():
        hidden[row, : len(states)] = states
    inputs["encoder_outputs"] = BaseModelOutput(last_hidden_state=hidden)
    return inputs


def _causal_batch(
    backbone: Backbone, prompts: list[str], owner: Tensor, targets: list[list[int]]
) -> LessonBatch:
    """prompt + target in one sequence, padded on the left, so that targets end at the same place."""
    encoded = backbone.encode(prompts, padding_side="left")
    sequences = [
        ids[mask.bool()].tolist() + target[:-1]
        for ids, mask, target in zip(
            encoded["input_ids"], encoded["attention_mask"], targets, strict=True
        )
    ]
    length = max(len(s) for s in sequences)
    width = max(len(t) for t in targets)
    pad = backbone.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (length - len(s)) + s for s in sequences])
    mask = torch.tensor([[0] * (length - len(s)) + [1] * len(s) for s in sequences])
    labels = torch.tensor([[IGNORE] * (width - len(t)) + t for t in targets])
    inputs = {
        "input_ids": ids.to(backbone.device),
        "attention_mask": mask.to(backbone.device),
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0).to(backbone.device),
        "use_cache": False,
    }
    labels = labels.to(backbone.device)
    return LessonBatch(inputs, owner, labels, torch.ones_like(labels, dtype=torch.float32))


def _losses(logits: Tensor, batch: LessonBatch, lessons: int) -> tuple[Tensor, Tensor]:
    """Each lesson's loss (n,), summed over tokens and views, and its smallest margin (n,)."""
    place = batch.labelled  # (rows, T) or (rows,)
    labels, scale = batch.labels[place], batch.scale[place]  # (N,)
    owner = batch.owner[place.nonzero()[:, 0]]  # (N,)
    logits = logits.float()  # (N, V)
    token_loss = cross_entropy(logits, labels, reduction="none")
    losses = torch.zeros(lessons, device=logits.device).index_add(0, owner, token_loss)
    with torch.no_grad():
        target = logits.gather(-1, labels[:, None])[:, 0]
        rival = logits.scatter(-1, labels[:, None], -math.inf).amax(-1)
        margins = torch.full((lessons,), math.inf, device=logits.device)
        margins = margins.scatter_reduce(0, owner, (target - rival) / scale, "amin")
    return losses, margins


def _initial_pair(
    target: Any, lessons: Sequence[Lesson], rank: int, settings: EditSettings, device: torch.device
) -> tuple[Tensor, Tensor]:
    """A (n, in, r) random, B (n, r, out) zero. A block's start depends on its edit's id alone."""
    size_in, size_out = projection_sizes(target)
    starts = []
    for lesson in lessons:
        seed = hashlib.sha256(f"{settings.seed}|{lesson.id}".encode()).digest()[:7]
        generator = torch.Generator().manual_seed(int.from_bytes(seed, "big"))
        starts.append(torch.randn(size_in, rank, generator=generator) / math.sqrt(size_in))
    a = torch.stack(starts) * settings.weight_scale
    return a.to(device), torch.zeros(len(lessons), rank, size_out, device=device)


class _NAdam:
    """Adam with Nesterov's momentum (Dozat 2016), element by element; its state can be cut down.

    It forgets the size of old gradients sooner than the usual 0.999: a block trains for some ten steps.
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float) -> None:
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]
        self.rate, self.count = rate, 0

    def step(self, parameters: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        self.count += 1
        fast, slow = 1 - 0.9**self.count, 1 - 0.99**self.count
        for p, g, m, v in zip(parameters, grads, self.first, self.second, strict=True):
            m.mul_(0.9).add_(g, alpha=0.1)
            v.mul_(0.99).addcmul_(g, g, value=0.01)
            ahead = (0.9 * m).add_(g, alpha=0.1).div_(fast)
            p.addcdiv_(ahead, (v / slow).sqrt_().add_(1e-8), value=-self.rate)

    def keep(self, rows: Tensor) -> None:
        self.first = [m[rows] for m in self.first]
        self.second = [v[rows] for v in self.second]
