"""What many training prompts begin with, read once: a chat template's head, a system prompt, a text.

    <system> You are ... <user>  Who leads Acme?       ┐ read once for all of these rows,
    <system> You are ... <user>  Where is Acme?        ┘ and only what follows for each of them

A block acts behind the last attention (`surgery`), so what the rows begin with is the same however often
they are trained. Where states can't be used (`PromptStates.usable`), rows are read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile
from operator import eq

import torch

from melo_engine.prompt_states import Ids, PromptStates
from melo_engine.training_examples import ExampleBatch


class SharedPrefixes:
    """Shortens batches of training examples of causal models by what their prompts begin with."""

    def __init__(self, states: PromptStates, prefixes: Iterable[Ids]) -> None:
        self._states = states
        self._prefixes = frozenset(prefixes) if states.usable else frozenset()
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    @torch.no_grad()
    def shorten(self, batch: ExampleBatch) -> tuple[ExampleBatch, ExampleBatch] | None:
        """The batch behind the states of its rows' prefixes, and the same without these states.

        Run on the first, the model says of the batch's last positions what it would say of them in whole
        rows. None where no row has a prefix.
        """
        if not self._prefixes:
            return None
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        rows = [tuple(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)]
        before_labels = (-batch.labelled.sum(-1)).tolist()  # the last token of a prompt has a label
        prefixes = [self._longest(row[:end]) for row, end in zip(rows, before_labels, strict=True)]
        if not any(prefixes):
            return None
        distinct = list(dict.fromkeys(p for p in prefixes if p))
        states_of = dict(zip(distinct, self._states.read(distinct), strict=True))
        longest = max(map(len, prefixes))
        left = max(len(row) - len(prefix) for row, prefix in zip(rows, prefixes, strict=True))
        before = torch.tensor(
            [[0] * (longest - len(prefix)) + [1] * len(prefix) for prefix in prefixes],
            device=mask.device,
        )  # (rows, longest)
        own = torch.tensor(
            [
                [0] * (left - len(row) + len(prefix)) + [1] * (len(row) - len(prefix))
                for row, prefix in zip(rows, prefixes, strict=True)
            ],
            device=mask.device,
        )  # (rows, left)
        attended = torch.cat([before, own], 1)
        positions = (attended.cumsum(1) - 1).clamp(min=0)[:, longest:]
        inputs = {
            "input_ids": ids[:, -left:],
            "attention_mask": own,
            "position_ids": positions,
            "use_cache": False,
        }
        cache = self._states.cache([states_of.get(prefix) for prefix in prefixes])
        behind = {**inputs, "attention_mask": attended, "past_key_values": cache}
        return (
            ExampleBatch(behind, batch.owner, batch.labels, batch.scale),
            ExampleBatch(inputs, batch.owner, batch.labels, batch.scale),
        )

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
