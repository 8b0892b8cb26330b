"""Where a block's training begins: A looks along what tells its example's positions apart, B is zero.

A random A gives positions of one example nearly the same code x @ A, since most of a hidden state is
common to all; then what one token needs undoes what another needs. So A's columns are the principal
directions of the module's inputs at the labelled positions. Each is weighted by the inverse root of
its size: the largest keeps its lead, the others come nearer. The codes have a size of their own,
whatever that of the activations, so one learning rate serves all backbones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from melo_engine.training_examples import TrainingExample
from melo_engine.types import EditSettings

SMALLEST = 1e-3  # of the largest direction; what lies below is rounding
NOISE = 0.1  # of a code's size: random columns, where there are more than directions


def first_pairs(
    inputs: Tensor,
    owner: Tensor,
    sizes: tuple[int, int],
    examples: Sequence[TrainingExample],
    rank: int,
    settings: EditSettings,
) -> tuple[Tensor, Tensor]:
    """A (n, in, r) and B (n, r, out) of n examples for one target module of `sizes` (in, out).

    inputs: (N, in), of the module at the labelled positions. owner: (N,) example of each, ascending.
    A block's start depends on its edit's id and its own positions alone.
    """
    size_in, size_out = sizes
    counts = torch.bincount(owner, minlength=len(examples))  # (n,)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    x = inputs.new_zeros(len(examples), int(counts.max()), size_in, dtype=torch.float64)
    x[owner, place] = inputs.double().nan_to_num(0.0, 0.0, 0.0)  # (n, P, in)
    eigenvalues, vectors = torch.linalg.eigh(x @ x.transpose(1, 2))  # ascending: (n, P), (n, P, P)
    count = min(rank, x.shape[1])
    singular = eigenvalues.clamp(min=0).sqrt().flip(1)[:, :count]  # (n, k), singular values of x
    nonzero = singular > SMALLEST * singular[:, :1]
    scale = settings.weight_scale * counts.double().sqrt()[:, None]
    weights = scale / (singular * (singular * singular[:, :1]).sqrt())
    weights = torch.where(nonzero, weights, 0.0)  # (n, k)
    directions = x.transpose(1, 2) @ (vectors.flip(2)[..., :count] * weights[:, None])  # (n, in, k)
    typical = (x.square().sum((1, 2)) / counts).sqrt()  # (n,), of an input's length
    noise = _random(examples, size_in, rank, settings.seed).to(directions)
    a = noise * (NOISE * settings.weight_scale / typical.clamp(min=1e-12))[:, None, None]
    a[..., :count] = torch.where(nonzero[:, None], directions, a[..., :count])
    return a.float(), torch.zeros(len(examples), rank, size_out, device=inputs.device)


def _random(examples: Sequence[TrainingExample], size: int, rank: int, seed: int) -> Tensor:
    """(n, size, rank), standard normal, by each example's id and the seed."""
    drawn = []
    for example in examples:
        digest = hashlib.sha256(f"{seed}|{example.id}".encode()).digest()[:7]
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        drawn.append(torch.randn(size, rank, generator=generator))
    return torch.stack(drawn)
