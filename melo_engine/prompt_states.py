"""Key and value states of prompts, made once for every answer to them.

    prompts ─► tokens ─┬─ what all of them begin with, such as a system prompt   one pass for all
                       └─ the rest, but for the last token                      one pass for each
                                   └─► states, kept ─► generate(input_ids, past_key_values)

Blocks act behind the last attention (`surgery`), so states don't depend on them: the backbone's answer to
a prompt, each block's and every sample go on from the same ones. Where a model keeps other states than
keys and values of all places, or blocks act before an attention, prompts are read anew each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from melo_engine.backbone import Backbone
from melo_engine.conversation import Prompt
from melo_engine.surgery import find_surgery

KEPT = 2**30  # bytes
TOGETHER = 32  # prompts
Ids = tuple[int, ...]


class PromptStates:
    """Gives batches to `generate` whose prompts are read already. kept: bytes of states at most."""

    def __init__(self, backbone: Backbone, kept: int = KEPT) -> None:
        self._backbone, self._most = backbone, kept
        self._states: OrderedDict[Ids, Tensor] = OrderedDict()  # (2, layers, heads, T - 1, D)
        self._bytes = 0
        self._beginning: tuple[Ids, Tensor] | None = None
        self._usable = backbone.task == "causal-lm" and set(backbone.surgery.targets) <= set(
            find_surgery(backbone.model).targets
        )

    @torch.inference_mode()
    def encoded(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """As `Backbone.encode`, with past_key_values of all but the last token where that is possible."""
        encoded: dict[str, Any] = self._backbone.encode(prompts)
        if not self._usable:
            return encoded
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        rows = [tuple(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)]
        if min(map(len, rows)) < 2:
            return encoded
        fresh = self._read([r for r in dict.fromkeys(rows) if r not in self._states])
        if fresh is None:
            self._usable = False
            return encoded
        own = [fresh[r] if r in fresh else self._states[r] for r in rows]
        layers, heads, size = own[0].shape[1], own[0].shape[2], own[0].shape[4]
        states = ids.new_zeros(
            2, layers, len(rows), heads, ids.shape[1] - 1, size, dtype=own[0].dtype
        )
        for row, part in enumerate(own):
            states[:, :, row, :, states.shape[4] - part.shape[3] :] = part
            if rows[row] in self._states:
                self._states.move_to_end(rows[row])
        self._keep(fresh)
        return {**encoded, "past_key_values": self._cache(states)}

    def _keep(self, fresh: dict[Ids, Tensor]) -> None:
        for ids, states in fresh.items():
            self._states[ids] = states
            self._bytes += states.nbytes
        while self._bytes > self._most and self._states:
            self._bytes -= self._states.popitem(last=False)[1].nbytes

    def _read(self, rows: list[Ids]) -> dict[Ids, Tensor] | None:
        """States of all but the last token of each; None where the model keeps others."""
        found: dict[Ids, Tensor] = {}
        rows = sorted(rows, key=len)
        for start in range(0, len(rows), TOGETHER):
            batch = rows[start : start + TOGETHER]
            begin, states = self._begun(batch)
            rest = [row[len(begin) : -1] for row in batch]
            longest = max(map(len, rest))
            made: Tensor | None = states  # all that a prompt of one more token needs
            if longest:
                made = self._run(rest, longest, len(begin), states)
            if made is None:
                return None
            for i, row in enumerate(batch):
                found[row] = made[:, :, i if longest else 0, :, : len(row) - 1].clone()
        return found

    def _begun(self, rows: Sequence[Ids]) -> tuple[Ids, Tensor | None]:
        """What all rows begin with, if it is what the batch before began with or long enough."""
        if self._beginning is not None:
            ids, states = self._beginning
            if all(len(r) > len(ids) and r[: len(ids)] == ids for r in rows):
                return ids, states
        shared = 0
        shortest = min(map(len, rows)) - 1
        while shared < shortest and len({row[shared] for row in rows}) == 1:
            shared += 1
        if len(rows) < 2 or not shared:
            return (), None
        ids = rows[0][:shared]
        made = self._run([ids], shared, 0, None)
        if made is None:
            return (), None
        self._beginning = ids, made
        return ids, made

    def _run(
        self, rows: Sequence[Ids], longest: int, begun: int, states: Tensor | None
    ) -> Tensor | None:
        """States (2, layers, B, heads, begun + longest, D) of rows behind a beginning.

        None where the model keeps others. Rows are padded on the right, where nothing looks at it.
        """
        model, device = self._backbone.model, self._backbone.device
        pad = self._backbone.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
        if states is not None:
            states = states.expand(-1, -1, len(rows), -1, -1, -1)
        cache = DynamicCache(config=model.config) if states is None else self._cache(states)
        model.base_model(
            input_ids=ids,
            attention_mask=ids.new_ones(len(rows), begun + longest),
            past_key_values=cache,
            use_cache=True,
        )
        if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return None
        keys = torch.stack([layer.keys for layer in cache.layers])
        values = torch.stack([layer.values for layer in cache.layers])
        return torch.stack([keys, values])

    def _cache(self, states: Tensor) -> DynamicCache:
        """states: (2, layers, B, heads, T, D)."""
        cache = DynamicCache(config=self._backbone.model.config)
        for layer, (keys, values) in enumerate(zip(*states, strict=True)):
            cache.update(keys.contiguous(), values.contiguous(), layer)
        return cache
