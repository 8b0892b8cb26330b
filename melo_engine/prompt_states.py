"""Key and value states of prompts, made once for every answer to them.

    prompts ─► tokens ─► blocks of 16 tokens ──► states that are kept: of the template, a system prompt,
                              │                   what was said before ─┐
                              └─► the rest: one pass for many prompts ──┴─► generate(past_key_values)

An edit's block acts behind the last attention (`surgery`), so states don't depend on it: the backbone's
answer to a prompt, each edit's and every sample go on from the same ones. Where a model keeps other
states than keys and values of all places, or blocks act before an attention, prompts are read anew each
time.
"""

from __future__ import annotations

import hashlib
import inspect
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from melo_engine.backbone import Backbone
from melo_engine.conversation import Prompt
from melo_engine.runtime import StopForward
from melo_engine.surgery import find_surgery

KEPT = 2**30  # bytes
TOGETHER = 32  # prompts
# Padding is cheaper than another pass up to so many tokens: measured on a CPU, a guess elsewhere.
PADDING, PADDING_ELSEWHERE = 32, 4096
BLOCK = 16  # tokens whose states are kept in one piece, as vLLM does
Ids = tuple[int, ...]


class PromptStates:
    """Reads prompts of a backbone to states (2, layers, heads, T, D). kept: bytes of states at most."""

    def __init__(self, backbone: Backbone, kept: int = KEPT) -> None:
        self._backbone = backbone
        self._kept = PrefixCache(kept)

    @cached_property
    def usable(self) -> bool:
        """Whether this model's answers can go on from states."""
        backbone = self._backbone
        if backbone.task != "causal-lm":
            return False
        if not set(backbone.surgery.targets) <= set(find_surgery(backbone.model).targets):
            return False
        if "position_ids" not in inspect.signature(backbone.model.base_model.forward).parameters:
            return False
        layers = self._layers
        if not layers or not all(type(la) is DynamicLayer and la.is_initialized for la in layers):
            return False
        # Some keep latents of one size as keys and of another as values; states are one tensor.
        return len({states.shape for layer in layers for states in (layer.keys, layer.values)}) == 1

    @cached_property
    def bytes_per_token(self) -> int:
        """Of the states of one row, where they are usable."""
        return sum(int(layer.keys.nbytes + layer.values.nbytes) for layer in self._layers)

    @cached_property
    def _layers(self) -> list[Any]:
        """What the model keeps of one token."""
        return list(self._run([(0,)], [None], last=None).layers)

    @torch.inference_mode()
    def encoded(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """As `Backbone.encode`, with past_key_values of all but the last token where that is possible."""
        encoded: dict[str, Any] = self._backbone.encode(prompts)
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        rows = [tuple(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)]
        if min(map(len, rows)) < 2 or not self.usable:
            return encoded
        states = self.read([row[:-1] for row in rows])
        return {**encoded, "past_key_values": self.cache(states)}

    def read(self, rows: Sequence[Ids]) -> list[Tensor]:
        """States of rows of tokens; what several of them begin with is read once."""
        states_of: dict[Ids, Tensor] = {}
        fresh: list[Ids] = []
        for row in dict.fromkeys(rows):
            states = self.beginning(row)
            if states is not None and states.shape[3] == len(row):
                states_of[row] = states
            else:
                fresh.append(row)
        fresh.sort(key=len)
        for start in range(0, len(fresh), TOGETHER):
            batch = fresh[start : start + TOGETHER]
            shared = self._shared(batch)
            begun = [max(self.beginning(row), shared, key=_length) for row in batch]
            states_of |= zip(batch, self.extend(batch, begun), strict=True)
        return [states_of[row] for row in rows]

    def beginning(self, row: Ids) -> Tensor | None:
        """States of as much of a row's beginning as is kept; all of them where it was read before."""
        return self._kept.longest(row)

    @torch.inference_mode()
    def extend(self, rows: Sequence[Ids], begun: Sequence[Tensor | None]) -> list[Tensor]:
        """States of rows, each behind the states of its own beginning, which are given.

        Rows of like lengths are read in one pass.
        """
        lengths = [_length(states) for states in begun]
        made: dict[int, Tensor] = {}
        padding = PADDING if self._backbone.device.type == "cpu" else PADDING_ELSEWHERE
        for group in _alike(lengths, [len(row) for row in rows], padding):
            made |= self._extended(group, rows, begun)
        return [made[i] for i in range(len(rows))]

    def _extended(
        self, group: Sequence[int], rows: Sequence[Ids], begun: Sequence[Tensor | None]
    ) -> dict[int, Tensor]:
        lengths = {i: _length(begun[i]) for i in group}
        fresh = [rows[i][lengths[i] :] for i in group]
        cache = self._run(fresh, [begun[i] for i in group], last=len(self._layers) - 1)
        keys = torch.stack([layer.keys for layer in cache.layers])  # (layers, B, heads, T, D)
        values = torch.stack([layer.values for layer in cache.layers])
        made = {}
        for place, i in enumerate(group):
            first = max(lengths.values()) - lengths[i]  # padding in front of it
            columns = slice(first, first + len(rows[i]))
            made[i] = torch.stack([keys[:, place, :, columns], values[:, place, :, columns]])
            self._kept.add(rows[i], made[i])
        return made

    def _shared(self, rows: Sequence[Ids]) -> Tensor | None:
        """States of what all rows begin with, where there are several."""
        if len(rows) < 2:
            return None
        length, shortest = 0, min(map(len, rows)) - 1
        while length < shortest and len({row[length] for row in rows}) == 1:
            length += 1
        if not length:
            return None
        return self.read([rows[0][:length]])[0]

    @torch.inference_mode()
    def _run(
        self, rows: Sequence[Ids], begun: Sequence[Tensor | None], last: int | None
    ) -> StatesCache:
        """Read rows behind their beginnings, up to the states of layer `last`; None: all of the model.

        Beginnings are padded on the left, rows on the right, so that the new tokens stand in columns.
        """
        model, device = self._backbone.model, self._backbone.device
        pad = self._backbone.tokenizer.pad_token_id or 0
        lengths = [_length(states) for states in begun]
        before, longest = max(lengths), max(map(len, rows))
        padded = min(lengths) < before or min(map(len, rows)) < longest
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
        mask = torch.tensor(
            [
                [0] * (before - n) + [1] * (n + len(row)) + [0] * (longest - len(row))
                for row, n in zip(rows, lengths, strict=True)
            ],
            device=device,
        )
        ends = torch.tensor(
            [n + len(row) - 1 for row, n in zip(rows, lengths, strict=True)], device=device
        )
        positions = torch.tensor(lengths, device=device)[:, None] + torch.arange(
            longest, device=device
        )  # (B, longest)
        cache = self.cache(begun)
        cache.last = last
        attention_mask = mask if padded else None  # without one attention skips what is ahead
        with suppress(StopForward):
            model.base_model(
                input_ids=ids,
                attention_mask=attention_mask,
                position_ids=positions.minimum(ends[:, None]),
                past_key_values=cache,
                use_cache=True,
            )
        return cache

    def cache(self, rows: Sequence[Tensor | None]) -> StatesCache:
        """States of rows as one cache, padded on the left."""
        cache = StatesCache(config=self._backbone.model.config)
        given = next((states for states in rows if states is not None), None)
        if given is None:
            return cache
        longest = max(_length(states) for states in rows)
        _, layers, heads, _, size = given.shape
        for layer in range(layers):  # one by one: all of them are as large as the cache itself
            joined = given.new_zeros(2, len(rows), heads, longest, size)
            for row, states in enumerate(rows):
                if states is not None:
                    joined[:, row, :, longest - states.shape[3] :] = states[:, layer]
            cache.update(*joined, layer)
        return cache


class StatesCache(DynamicCache):  # type: ignore[misc]
    """A cache that ends the pass where layer `last` has its states: nobody reads what is behind them."""

    last: int | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **more: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep states (B, heads, T, D) of a layer; all it has. Raises StopForward at the last."""
        states: tuple[Tensor, Tensor] = super().update(
            key_states, value_states, layer_idx, *args, **more
        )
        if layer_idx == self.last:
            raise StopForward
        return states


class PrefixCache:
    """States by blocks of tokens, each once however many prompts begin with it. most: bytes of them.

    A block is named by its tokens and all that stand before it. The last block of a row may be shorter.
    What was not used for longest goes first, the ends of rows before their beginnings.
    """

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0
        self._blocks: OrderedDict[bytes, Tensor] = OrderedDict()  # (2, layers, heads, <= BLOCK, D)

    def longest(self, row: Ids) -> Tensor | None:
        """States of as many tokens of a row's beginning as there are."""
        names = []
        for name, _, _ in _blocks_of(row):
            if name not in self._blocks:
                break
            names.append(name)
        self._use(names)
        return torch.cat([self._blocks[name] for name in names], dim=3) if names else None

    def add(self, row: Ids, states: Tensor) -> None:
        """Keep the states (2, layers, heads, T, D) of a row."""
        names = []
        for name, start, end in _blocks_of(row):
            names.append(name)
            if name not in self._blocks:
                self._blocks[name] = states[:, :, :, start:end].clone()
                self.bytes += self._blocks[name].nbytes
        self._use(names)
        while self.bytes > self.most:
            self.bytes -= self._blocks.popitem(last=False)[1].nbytes

    def _use(self, names: Sequence[bytes]) -> None:
        for name in reversed(names):
            self._blocks.move_to_end(name)


def _blocks_of(row: Ids) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of each block of a row."""
    name = b""
    for start in range(0, len(row), BLOCK):
        tokens = row[start : start + BLOCK]
        name = hashlib.sha256(name + array("q", tokens).tobytes()).digest()
        yield name, start, start + len(tokens)


def _length(states: Tensor | None) -> int:
    return 0 if states is None else states.shape[3]


def _alike(begun: Sequence[int], whole: Sequence[int], most: int) -> list[list[int]]:
    """Rows that are read in one pass, with at most so much padding as one row more brings in.

    begun, whole: tokens of each row, before it is read and after. Padding of what was read before
    counts an eighth: only attention looks at it.
    """
    groups: list[list[int]] = []
    spent = 0.0
    for i in sorted(range(len(whole)), key=lambda i: (whole[i] - begun[i], begun[i])):
        group = [*(groups[-1] if groups else ()), i]
        fresh, before = [whole[j] - begun[j] for j in group], [begun[j] for j in group]
        padding = len(group) * (max(fresh) + max(before) / 8) - sum(fresh) - sum(before) / 8
        if groups and padding - spent <= most:
            groups[-1], spent = group, padding
        else:
            groups.append([i])
            spent = 0.0
    return groups
