"""Training examples, and a batch of them as a teacher-forced pass through the model.

prompts  (rows)  ─► inputs  prompt + target, or encoder and decoder apart
targets          ─► labels  at the last positions of the sequence
all in one pass  ─► logits  only where a label stands
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.blocks import GatheredBlocks
from melo_engine.conversation import Prompt
from melo_engine.frozen import FrozenPrefix, cut_positions, cut_rows

IGNORE = -100
SAME = 1e-4  # of the largest logit: what two ways to the same logits may differ by
ROUNDINGS = 4  # or this many, if more


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """What one block has to learn: each of `prompts` is to be answered with `target`.

    target: token ids with the end token, or [label] for a classifier. length: tokens that a chunk has to
    hold of each prompt, 0 where an encoder reads them apart.
    """

    id: str
    prompts: tuple[Prompt, ...]
    target: tuple[int, ...]
    length: int = 0


@dataclass(slots=True)
class ExampleBatch:
    """Prompts and targets of some examples as one teacher-forced batch.

    inputs: keyword arguments of the model's forward. owner: (rows,) example of each row, ascending.
    labels: (rows, T) target ids with IGNORE elsewhere, for the last T positions of the sequence;
    (rows,) class ids for a classifier. scale: like labels, standard deviation of the backbone's own
    logits.
    """

    inputs: dict[str, Any]
    owner: Tensor
    labels: Tensor
    scale: Tensor

    @property
    def length(self) -> int:
        """Positions of the sequence that the labels belong to."""
        name = "decoder_input_ids" if "decoder_input_ids" in self.inputs else "input_ids"
        return int(self.inputs[name].shape[1])

    @property
    def labelled(self) -> Tensor:
        """Where a label stands: a mask over `labels`, with N true entries."""
        return self.labels != IGNORE

    @property
    def label_owner(self) -> Tensor:
        """(N,), the example of each label, ascending."""
        return self.owner[self.labelled.nonzero()[:, 0]]

    def at_labels(self, states: Tensor) -> Tensor:
        """What of states (rows, L, ...) stands at the labels: (N, ...); a classifier's at the first."""
        states = states.reshape(len(self.owner), -1, states.shape[-1])
        if self.labels.dim() == 1:
            return states[:, 0]
        return states[:, -self.labels.shape[1] :][self.labelled]

    def blocks(
        self, parameters: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype
    ) -> GatheredBlocks:
        """The examples' own A (n, in, r) and B (n, r, out), laid out for the rows of this batch."""
        pairs = tuple((a.to(dtype), b.to(dtype)) for a, b in parameters)
        counts = torch.bincount(self.owner, minlength=len(pairs[0][0])).tolist()
        shares = tuple((len(list(run)), rows) for rows, run in groupby(counts))
        return GatheredBlocks(
            torch.arange(len(counts), device=self.owner.device), len(self.owner), pairs, shares
        )

    def mean_losses(self, losses: Tensor) -> Tensor:
        """Each example's loss (n,) a label, in nats."""
        return losses.detach() / torch.bincount(self.label_owner, minlength=len(losses))

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

        def only_labelled(head: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (self.at_labels(args[0])[None],)  # (1, N, H)

        hook = backbone.model.get_output_embeddings().register_forward_pre_hook(only_labelled)
        try:
            logits: Tensor = backbone.model(**self.inputs).logits  # (1, N, V)
        finally:
            hook.remove()
        return logits[0]

    def keep(self, examples: Tensor) -> tuple[Tensor, ExampleBatch]:
        """Cut down to some examples, by position. Returns the rows kept and the smaller batch."""
        new = torch.full((int(self.owner.max()) + 1,), -1, device=self.owner.device)
        new[examples] = torch.arange(len(examples), device=self.owner.device)
        owner = new[self.owner]
        rows = (owner >= 0).nonzero()[:, 0]
        inputs = {k: cut_rows(v, rows, len(owner)) for k, v in self.inputs.items()}
        return rows, ExampleBatch(inputs, owner[rows], self.labels[rows], self.scale[rows])


def example_batch(backbone: Backbone, examples: Sequence[TrainingExample]) -> ExampleBatch:
    """Tokenize and pad; see ExampleBatch."""
    prompts = [p for example in examples for p in example.prompts]
    owner = [i for i, example in enumerate(examples) for _ in example.prompts]
    targets = [list(examples[i].target) for i in owner]
    width = max(map(len, targets))
    inputs: dict[str, Any]
    labels: Sequence[int] | Sequence[list[int]]
    if backbone.task == "sequence-classification":
        inputs, labels = backbone.encode(prompts), [t[0] for t in targets]
    elif backbone.task == "causal-lm":
        inputs = _causal_inputs(backbone, prompts, targets)
        labels = [[IGNORE] * (width - len(t)) + t for t in targets]
    else:
        start, end = backbone.start_token, backbone.end_token
        decoder = [[start, *t[:-1]] + [end] * (width - len(t)) for t in targets]
        inputs = {
            **backbone.encode(prompts),
            "decoder_input_ids": torch.tensor(decoder, device=backbone.device),
            "use_cache": False,
        }
        labels = [t + [IGNORE] * (width - len(t)) for t in targets]
    label_ids = torch.tensor(labels, device=backbone.device)
    scale = torch.ones_like(label_ids, dtype=torch.float32)
    return ExampleBatch(inputs, torch.tensor(owner, device=backbone.device), label_ids, scale)


def _causal_inputs(
    backbone: Backbone, prompts: Sequence[Prompt], targets: Sequence[list[int]]
) -> dict[str, Any]:
    """prompt + target in one sequence, padded on the left, so that targets end at the same place."""
    encoded = backbone.encode(prompts, padding_side="left")
    sequences = [
        ids[mask.bool()].tolist() + target[:-1]
        for ids, mask, target in zip(
            encoded["input_ids"], encoded["attention_mask"], targets, strict=True
        )
    ]
    length = max(len(s) for s in sequences)
    pad = backbone.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (length - len(s)) + s for s in sequences])
    mask = torch.tensor([[0] * (length - len(s)) + [1] * len(s) for s in sequences])
    return {
        "input_ids": ids.to(backbone.device),
        "attention_mask": mask.to(backbone.device),
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0).to(backbone.device),
        "use_cache": False,
    }


@torch.no_grad()
def labels_only(
    backbone: Backbone, prefix: FrozenPrefix, batch: ExampleBatch, logits: Tensor
) -> tuple[FrozenPrefix, ExampleBatch]:
    """A batch and its recording, cut to the labelled positions: each becomes a row of its own.

    Both are returned as they are where positions cannot be computed apart: where attention runs above
    the first block, or the cut batch does not reproduce `logits`, those of the whole one. Something else
    than attention may mix positions, and a classifier may read others than the first.
    """
    if not prefix.apart:
        return prefix, batch
    if batch.labels.dim() == 1:
        rows = torch.arange(len(batch.owner), device=batch.owner.device)
        columns = torch.zeros_like(rows)
        labels, scale = batch.labels, batch.scale
    else:
        rows, columns = batch.labelled.nonzero(as_tuple=True)
        labels, scale = batch.labels[rows, columns][:, None], batch.scale[rows, columns][:, None]
        columns = columns + batch.length - batch.labels.shape[1]
    inputs = {
        name: cut_positions(value, rows, columns, len(batch.owner), batch.length)
        for name, value in batch.inputs.items()
    }
    cut = ExampleBatch(inputs, batch.owner[rows], labels, scale)
    recording = prefix.positions(rows, columns, batch.length)
    try:
        with recording.replay():
            cut_logits = cut.labelled_logits(backbone)
    except RuntimeError:  # a model that keeps positions elsewhere than in the second dimension
        return prefix, batch
    return (recording, cut) if same_logits(cut_logits, logits) else (prefix, batch)


def same_logits(logits: Tensor, others: Tensor) -> bool:
    """Whether two ways to the same logits agree but for rounding."""
    if logits.shape != others.shape:
        return False
    allowed = max(SAME, ROUNDINGS * torch.finfo(others.dtype).eps) * others.abs().max()
    return bool(((logits - others).abs() <= allowed).all())
