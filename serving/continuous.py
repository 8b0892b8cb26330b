"""Continuous batching: rows join a batch that runs at its next token, and leave it as they end.

    joining ──► routes of all in one key pass ──► prompts are read, so many tokens ──► running
                                                  between two steps, each behind what   │ a token of
                                                  is kept of its beginning              ▼ each, a step
                                                                                      ended: leaves

Each row has the block of its own edit, of whatever version: what the backbone keeps of a prompt is the
same for all of them, see `melo_engine.prompt_states`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from melo_engine import Backbone
from melo_engine.blocks import Shard, gather
from melo_engine.generating import is_plain
from melo_engine.prompt_states import PromptStates
from melo_engine.ragged_cache import RaggedCache
from melo_engine.runtime import Pass
from serving.generation import routes_of
from serving.jobs import GenerationJob
from serving.output import OutputProcessor
from serving.rows import BatchRow
from serving.sampler import Sampler

READ_AT_ONCE = 512  # tokens of prompts between two steps, so that long ones keep nobody waiting


@dataclass(eq=False)
class Prefill:
    """A prompt that is being read. rows: answers to it; states: of as many tokens as are read."""

    ids: tuple[int, ...]
    rows: list[BatchRow]
    states: Tensor | None = None

    @property
    def read(self) -> int:
        """Tokens that are read."""
        return 0 if self.states is None else self.states.shape[3]

    @property
    def left(self) -> int:
        """Tokens to read; the last one is the first step's."""
        return len(self.ids) - 1 - self.read

    @property
    def done(self) -> bool:
        """Whether its rows can run."""
        return self.states is not None and not self.left


class ContinuousBatch:
    """The rows that are being answered on one backbone.

    prefix_bytes: states of prompts that are kept; running_bytes: of running rows, beyond which the next
    one waits until others have left.
    """

    def __init__(self, backbone: Backbone, *, prefix_bytes: int, running_bytes: int) -> None:
        self.backbone, self.running_bytes = backbone, running_bytes
        self.states = PromptStates(backbone, prefix_bytes)
        self.usable = self.states.usable and is_plain(backbone)
        self._reading: list[Prefill] = []
        self._running: list[BatchRow] = []
        self._places: dict[BatchRow, tuple[Shard, int] | None] = {}
        self._cache = RaggedCache()
        self._blocks = Pass()
        self._sampler: Sampler | None = None

    def __len__(self) -> int:
        return len(self._places)

    @cached_property
    def output(self) -> OutputProcessor:
        """Takes tokens to their rows. There are none of a classifier."""
        return OutputProcessor(self.backbone)

    def join(self, jobs: Sequence[GenerationJob]) -> None:
        """Take rows in. Their routes are known when this returns."""
        versions = {id(job.loaded): job.loaded for job in jobs}
        for key, loaded in versions.items():
            rows = [row for job in jobs if id(job.loaded) == key for row in job.rows]
            for row, route in zip(rows, routes_of(loaded, rows), strict=True):
                row.route = route
                place = loaded.editor.version.place
                self._places[row] = None if route.edit is None else place(route.edit)
        prompts = {prefill.ids: prefill for prefill in self._reading if prefill.states is None}
        for row in (row for job in jobs for row in job.rows):
            ids = tuple(row.ids)
            if ids not in prompts:
                prompts[ids] = Prefill(ids, [])
                self._reading.append(prompts[ids])
            prompts[ids].rows.append(row)
            if row.on_text is not None:
                row.on_text("", ())

    def clear(self) -> None:
        """Take all rows out."""
        self._reading, self._running, self._places = [], [], {}
        self._cache = RaggedCache()
        self._lay_out()

    @torch.inference_mode()
    def step(self) -> None:
        """Read more of the prompts that wait, then generate the next token of every running row."""
        self._read()
        if not self._running:
            return
        last = [row.tokens[-1] if row.tokens else row.ids[-1] for row in self._running]
        ids = torch.tensor(last, device=self.backbone.device)[:, None]  # (B, 1)
        with self.backbone.runtime.running(self._blocks):
            output = self.backbone.model(
                input_ids=ids, **self._cache.begin_step(self.backbone.device)
            )
        self._cache.end_step()
        logits = output.logits[:, -1].float()  # (B, V)
        if self._sampler is not None:
            logits = self._sampler(ids, logits)
        self.output.take(self._running, logits.argmax(-1).tolist())
        self._drop_ended()

    def _read(self) -> None:
        """Read prompts up to so many tokens; those that are read whole join the running rows."""
        self._reading = [p for p in self._reading if self._wanted(p)]
        parts: list[Prefill] = []
        until: list[int] = []
        room, rows, longest = READ_AT_ONCE, len(self._running), self._cache.longest
        for prefill in self._reading:
            rows, longest = rows + len(prefill.rows), max(longest, len(prefill.ids) + 1)
            fits = rows * longest * self.states.bytes_per_token <= self.running_bytes
            if room <= 0 or not (fits or rows == len(prefill.rows)):
                break
            if len(prefill.ids) == 1:
                [states] = self.states.extend([prefill.ids], [None])
                prefill.states = states[:, :, :, :0]
            elif prefill.states is None:
                prefill.states = self.states.beginning(prefill.ids[:-1])
                for row in prefill.rows:
                    row.cached_tokens = prefill.read
            if prefill.left:
                parts.append(prefill)
                until.append(prefill.read + min(room, prefill.left))
                room -= until[-1] - prefill.read
        if parts:
            begun = [p.ids[:end] for p, end in zip(parts, until, strict=True)]
            extended = self.states.extend(begun, [p.states for p in parts])
            for prefill, states in zip(parts, extended, strict=True):
                prefill.states = states
        ready = [prefill for prefill in self._reading if prefill.done]
        if ready:
            self._reading = [prefill for prefill in self._reading if not prefill.done]
            self._running += [row for prefill in ready for row in prefill.rows]
            self._cache.join([p.states for p in ready if p.states is not None for _ in p.rows])
            self._lay_out()

    def _drop_ended(self) -> None:
        """Take the rows out that have ended; the last one takes the place of each."""
        ended = [i for i, row in enumerate(self._running) if row.finish is not None]
        for place in reversed(ended):
            del self._places[self._running[place]]
            self._running[place] = self._running[-1]
            self._running.pop()
            self._cache.leave(place)
        if ended:
            self._lay_out()

    def _lay_out(self) -> None:
        """Lay out blocks and rules of sampling for the rows that run now."""
        places = [self._places[row] for row in self._running]
        self._blocks = Pass(gather(places, self.backbone.device, self.backbone.dtype))
        touched = any(row.sampling.touches_logits for row in self._running)
        self._sampler = Sampler(self._running, with_prompt=True) if touched else None

    def _wanted(self, prefill: Prefill) -> bool:
        """Whether somebody waits for an answer to it; rows that were cancelled have ended."""
        gone = [row for row in prefill.rows if row.cancelled]
        for row in gone:
            row.finish = "cancelled"
            del self._places[row]
        prefill.rows = [row for row in prefill.rows if not row.cancelled]
        return bool(prefill.rows)
