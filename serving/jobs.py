"""Requests that wait for a batch, and how their clients are told what became of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from serving.errors import RequestRefused, client_gone
from serving.generation import classify, find_routes, generate
from serving.loaded import Loaded
from serving.rows import BatchRow
from serving.sampling import TokenLogprob

Kind = Literal["generate", "classify", "route"]
Calls = list[tuple[Callable[..., None], tuple[Any, ...]]]
SHORT, MIDDLE = 64, 256  # tokens of a prompt: like lengths go into one batch
BRIEF = 64  # tokens of an answer
log = logging.getLogger("melo.serving")


@dataclass(eq=False)
class GenerationJob:
    """One request's rows, all on one version. `on_done` is called once, in the event loop."""

    kind: Kind
    loaded: Loaded
    rows: list[BatchRow]
    on_done: Callable[[Exception | None], None]
    bucket: tuple[object, ...] = field(init=False)
    done: bool = False

    def __post_init__(self) -> None:
        longest = max(len(r.ids) for r in self.rows)
        answer = max(r.max_tokens for r in self.rows)
        self.bucket = (
            self.kind,
            id(self.loaded),
            longest > SHORT,
            longest > MIDDLE,
            answer > BRIEF,
        )


class Delivery:
    """Tells jobs what became of them. post: has functions called in the event loop, all in one go."""

    def __init__(self, post: Callable[[Calls], None]) -> None:
        self._post = post
        self._calls: Calls = []

    def begin(self, jobs: Sequence[GenerationJob]) -> list[GenerationJob]:
        """The jobs that are to be answered: none that was cancelled, as when the client of a stream has
        gone, and none whose time is up."""
        now = time.monotonic()
        wanted = [job for job in jobs if not self._expired(job, now)]
        for job in wanted:
            for row in job.rows:
                self._buffer(row)
        return wanted

    def tell(self, jobs: Sequence[GenerationJob]) -> None:
        """Hand on what there is, and end the jobs whose rows have all ended."""
        for job in jobs:
            if not job.done and all(row.finish is not None for row in job.rows):
                self._finish(job, None)
        self.flush()

    @torch.inference_mode()
    def run(self, jobs: Sequence[GenerationJob], after_step: Callable[[], None]) -> None:
        """Answer jobs of one kind and version in one batch, from their beginning to their end."""
        rows = [row for job in jobs for row in job.rows]
        loaded, kind = jobs[0].loaded, jobs[0].kind
        if kind == "generate":
            generate(loaded, rows, after_step)
        elif kind == "classify":
            classify(loaded, rows)
        else:
            find_routes(loaded, rows)

    def run_separately(self, jobs: Sequence[GenerationJob], first: Exception) -> None:
        """Run each job again by itself, after a batch of them has failed: one must not fail others."""
        left = [job for job in jobs if not job.done]
        for job in left:
            try:
                if len(jobs) == 1:
                    raise first
                for row in job.rows:
                    row.reset()
                self.run([job], lambda job=job: self.tell([job]))  # type: ignore[misc]
                self.tell([job])
            except Exception as error:
                # The type only: a message may quote the prompt.
                log.error("a batch failed: %s", type(error).__name__)
                log.debug("the failure", exc_info=True)
                self._finish(job, error)
        self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        calls, self._calls[:] = list(self._calls), []
        self._post(calls)

    def _buffer(self, row: BatchRow) -> None:
        """Let the pieces of a streamed answer go out with the next flush."""
        tell = row.on_text
        if tell is not None and not isinstance(tell, _Buffered):
            row.on_text = _Buffered(self._calls, tell)

    def _expired(self, job: GenerationJob, now: float) -> bool:
        if all(row.cancelled for row in job.rows):
            self._finish(job, client_gone())
        elif now > job.rows[0].deadline:
            self._finish(
                job, RequestRefused(504, "too_late", "the answer would have come too late.")
            )
        return job.done

    def _finish(self, job: GenerationJob, error: Exception | None) -> None:
        job.done = True
        self._calls.append((job.on_done, (error,)))


class _Buffered:
    """Collects the pieces of a streamed answer for the next flush."""

    def __init__(self, calls: Calls, tell: Any) -> None:
        self.calls, self.tell = calls, tell

    def __call__(self, piece: str, tokens: Sequence[TokenLogprob]) -> None:
        self.calls.append((self.tell, (piece, tokens)))
