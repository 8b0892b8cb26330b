"""Trained blocks become shards, and edits that refer to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from melo_engine.blocks import Shard
from melo_engine.calibrate import Radii
from melo_engine.training import Trained
from melo_engine.types import EditRequest
from melo_engine.version import Edit


def store(
    trained: Sequence[Trained],
    requests: Sequence[EditRequest],
    keys: np.ndarray,
    radii: Sequence[Radii],
    start: int,
    dtype: torch.dtype,
) -> tuple[list[Edit], list[Shard]]:
    """Blocks into shards, one for each rank, and the edits that refer to them."""
    edits, shards = [], []
    ranks = [t.pairs[0][0].shape[1] for t in trained]
    for rank in sorted(set(ranks)):
        members = [i for i, r in enumerate(ranks) if r == rank]
        shard = shard_of([trained[i] for i in members], keys[members], dtype)
        shards.append(shard)
        for row, i in enumerate(members):
            place = shard.name, row, shard.block_hash(row), rank
            radius, content, by_question = radii[i]
            edits.append(Edit(requests[i], *place, radius, start + i, content, by_question))
    return edits, shards


def shard_of(trained: Sequence[Trained], keys: np.ndarray, dtype: torch.dtype) -> Shard:
    pairs = []
    for target in range(len(trained[0].pairs)):
        a = torch.stack([t.pairs[target][0] for t in trained]).to(dtype)
        b = torch.stack([t.pairs[target][1] for t in trained]).to(dtype)
        pairs.append((a, b))
    return Shard.from_tensors(pairs, keys)
