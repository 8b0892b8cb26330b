"""Key and value states of rows that are of different lengths, of which some join and some leave.

    row 0  ■■■■■■■□     a step writes each row's next token where the row ends; nothing is moved
    row 1  ■■■□□□□□     or copied but what is written. Attention is told what is padding by the mask.
    row 2  ■■■■□□□□

For decoder models that keep keys and values of all places, see `PromptStates.usable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

STEP = 64  # columns that are added when a layer has no room left


class RaggedCache(Cache):  # type: ignore[misc]
    """A cache whose rows are read one token at a time. lengths: tokens of each row that are read."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.layers: list[RaggedLayer]
        self.lengths: list[int] = []
        self.ends: Tensor | None = None  # (B,) int64, where the step that runs writes

    @property
    def longest(self) -> int:
        """Columns that a step needs."""
        return max(self.lengths, default=0) + 1

    def join(self, states: Sequence[Tensor]) -> None:
        """Put rows behind the others. states: (2, layers, heads, T, D) of each."""
        if not self.layers:
            self.layers = [RaggedLayer(self, states[0]) for _ in range(states[0].shape[1])]
        first = len(self.lengths)
        self.lengths += [row.shape[3] for row in states]
        for number, layer in enumerate(self.layers):
            layer.make_room(len(self.lengths), self.longest)
            for place, row in enumerate(states, first):
                layer.keys[place, :, : row.shape[3]] = row[0, number]
                layer.values[place, :, : row.shape[3]] = row[1, number]

    def leave(self, row: int) -> None:
        """Take a row out; the last one takes its place. Without any row the memory is given back."""
        last = len(self.lengths) - 1
        if row != last:
            used = self.lengths[last]
            for layer in self.layers:
                layer.keys[row, :, :used] = layer.keys[last, :, :used]
                layer.values[row, :, :used] = layer.values[last, :, :used]
            self.lengths[row] = used
        self.lengths.pop()
        if not self.lengths:
            self.layers = []

    def begin_step(self, device: torch.device) -> dict[str, Any]:
        """What the model is called with, beside the rows' next tokens (B, 1)."""
        self.ends = torch.tensor(self.lengths, device=device)
        columns = torch.arange(self.longest, device=device)
        for layer in self.layers:
            layer.make_room(len(self.lengths), self.longest)
        return {
            "attention_mask": (columns <= self.ends[:, None]).long(),  # (B, longest)
            "position_ids": self.ends[:, None],
            "past_key_values": self,
            "use_cache": True,
        }

    def end_step(self) -> None:
        """Count the tokens that were read."""
        self.lengths = [length + 1 for length in self.lengths]


class RaggedLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's states: keys, values (rows, heads, columns, D) with room for more. like: a row's."""

    is_sliding = False

    def __init__(self, cache: RaggedCache, like: Tensor) -> None:
        super().__init__()
        self.cache = cache
        _, _, heads, _, size = like.shape
        self.keys = like.new_zeros(0, heads, 0, size)
        self.values = like.new_zeros(0, heads, 0, size)
        self.is_initialized = True

    def make_room(self, rows: int, columns: int) -> None:
        """Make room for at least so many rows and columns."""
        if rows <= self.keys.shape[0] and columns <= self.keys.shape[2]:
            return
        rows = max(rows, self.keys.shape[0])
        columns = max(columns + STEP, self.keys.shape[2])
        self.keys = _enlarged(self.keys, rows, columns)
        self.values = _enlarged(self.values, rows, columns)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Write the states (B, heads, 1, D) of each row's next token. Returns all that is attended to."""
        ends = self.cache.ends
        assert ends is not None
        rows = torch.arange(len(ends), device=ends.device)
        self.keys[rows, :, ends] = key_states[:, :, 0]
        self.values[rows, :, ends] = value_states[:, :, 0]
        used = self.cache.longest
        return self.keys[: len(ends), :, :used], self.values[: len(ends), :, :used]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: room is made where rows join."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns of the mask, and where they begin."""
        return self.cache.longest, 0

    def get_seq_length(self) -> int:
        """Tokens before the one that is read, of the longest row."""
        return self.cache.longest - 1

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


def _enlarged(states: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros where nothing is: what is masked may be anything but NaN."""
    larger = states.new_zeros(rows, states.shape[1], columns, states.shape[3])
    larger[: states.shape[0], :, : states.shape[2]] = states
    return larger
