"""What many training prompts begin with, read once: a chat template's head, a system prompt, a text.

    <system> You are ... <user>  Who leads Acme?       ┐ read once for all of these rows,
    <system> You are ... <user>  Where is Acme?        ┘ and only what follows for each of them

A block acts behind the last attention (`surgery`), so what the rows begin with is the same however often
they are trained. Where states can't be used (`PromptStates.usable`), rows are read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, takewhile
from operator import eq

import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.prompt_states import Ids, PromptStates
from melo_engine.training_examples import ExampleBatch, same_logits


class SharedPrefixes:
    """Shortens batches of training examples of causal models by what their prompts begin with."""

    def __init__(self, states: PromptStates, prefixes: Iterable[Ids]) -> None:
        self._states = states
        distinct = frozenset(prefixes)
        self._prefixes = distinct if distinct and states.usable else frozenset()
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)
        self._checked = False

    def __bool__(self) -> bool:
        """Whether there is any prefix to go on from."""
        return bool(self._prefixes)

    @torch.no_grad()
    def hold(self, logits: Tensor, batch: ExampleBatch, backbone: Backbone) -> bool:
        """Whether the logits (N, V) of a shortened batch are those of `batch`, its whole rows.

        The first row is run whole, once; where it says something else, as a model may that goes by
        columns instead of positions, no prefix is used any more.
        """
        if not self._checked:
            _, alone = batch.keep(torch.zeros(1, dtype=torch.long, device=batch.owner.device))
            whole = alone.labelled_logits(backbone)
            self._checked = same_logits(logits[: len(whole)], whole)
            if not self._checked:
                self._prefixes, self._lengths = frozenset(), []
        return self._checked

    @torch.no_grad()
    def shorten(self, batch: ExampleBatch) -> tuple[ExampleBatch, ExampleBatch] | None:
        """The batch behind the states of its rows' prefixes, and the same without these states.

        Run on the first, the model says of the batch's last positions what it would say of them in whole
        rows. None where that saves nothing: no row has a prefix, or the longest row has none.
        """
        if not self._prefixes:
            return None
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]  # (rows, L)
        rows = [tuple(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)]
        # The last token of a prompt has the first label: states must end before it.
        prompts = [row[:-n] for row, n in zip(rows, batch.labelled.sum(-1).tolist(), strict=True)]
        prefixes = [self._longest(prompt) for prompt in prompts]
        if not any(prefixes):
            return None
        distinct = list(dict.fromkeys(prefix for prefix in prefixes if prefix))
        states = dict(zip(distinct, self._states.read(distinct), strict=True))
        cached = torch.tensor([len(prefix) for prefix in prefixes], device=mask.device)  # (rows,)
        length = int((mask.sum(1) - cached).max())  # S: tokens that are still read
        if length >= ids.shape[1]:
            return None
        columns = torch.arange(int(cached.max()), 0, -1, device=mask.device)
        prefix_mask = (columns <= cached[:, None]).to(mask.dtype)  # (rows, P), padded on the left
        columns = torch.arange(length, 0, -1, device=mask.device)
        row_mask = (columns <= (mask.sum(1) - cached)[:, None]).to(mask.dtype)  # (rows, S)
        attended = torch.cat([prefix_mask, row_mask], 1)
        inputs = {
            "input_ids": ids[:, -length:],
            "attention_mask": row_mask,
            "position_ids": (attended.cumsum(1) - 1).clamp(min=0)[:, -length:],
            "use_cache": False,
        }
        behind_states = {
            **inputs,
            "attention_mask": attended,
            "past_key_values": self._states.cache([states.get(prefix) for prefix in prefixes]),
        }
        return replace(batch, inputs=behind_states), replace(batch, inputs=inputs)

    def _longest(self, row: Ids) -> Ids:
        """The longest prefix that a row of tokens begins with, () where there is none."""
        return next(
            (
                row[:length]
                for length in self._lengths
                if length <= len(row) and row[:length] in self._prefixes
            ),
            (),
        )


def shared_prefixes(rows: Sequence[Ids]) -> Iterator[Ids]:
    """Prefixes of several rows that cost fewer tokens to read than they save.

    A longer one, of some of the rows, counts only what it saves beyond the shorter one of all.
    """
    waiting = [(sorted(rows), 0)] if rows else []
    while waiting:
        group, read = waiting.pop()
        length = sum(takewhile(bool, map(eq, group[0], group[-1])))  # of all: they are sorted
        if (length - read) * len(group) > length:
            yield group[0][:length]
            read = length
        longer = (row for row in group if len(row) > length)
        for _, part in groupby(longer, key=lambda row: row[length]):
            if len(members := list(part)) > 1:
                waiting.append((members, read))
