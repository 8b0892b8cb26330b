"""Micro-batching: questions of many clients become one batch, each with the block of its own edit.

    submit ──► waiting ──take: oldest first, same version, like lengths──► lane ──► run
                 │ full: Refused 429                                        └── each job is told
                                                                                when its rows end
One batch runs at a time (`serve.parallel`). A batch that goes on for long, because one answer is
long, gives its turn to the next one and runs beside it, so that short answers never wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from config.settings import ServeSettings
from serving.errors import Refused
from serving.generation import Row, classify, find_routes, generate
from serving.loaded import Loaded
from serving.metrics import Metrics
from serving.sampling import TokenLogprob

Kind = Literal["generate", "classify", "route"]
LANES = 4  # batches that may be in the works, long ones included
PATIENCE = 16  # tokens after which a batch lets the next one start
SHORT, MIDDLE = 64, 256  # tokens of a prompt: like lengths go into one batch
BRIEF = 64  # tokens of an answer
log = logging.getLogger("melo.serving")


@dataclass(eq=False)
class Job:
    """One request's rows, all on one version. `on_done` is called once, in the event loop."""

    kind: Kind
    loaded: Loaded
    rows: list[Row]
    on_done: Callable[[Exception | None], None]
    bucket: tuple[object, ...] = ()
    began: float = field(default_factory=time.monotonic)
    told: bool = False

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


class Batcher:
    """Owns the lanes: threads that run batches. Jobs come from one event loop and go back to it."""

    def __init__(self, settings: ServeSettings, metrics: Metrics, loop: AbstractEventLoop) -> None:
        self.settings, self.metrics, self.loop = settings, metrics, loop
        self._ready = threading.Condition()
        self._waiting: list[Job] = []
        self._rows_waiting = 0
        self._running = 0  # batches that have a turn
        self._crowded = False  # the last batch held more than one job
        self._closed = False
        self.threads = torch.get_num_threads()
        self._lanes = [
            threading.Thread(target=self._lane, name=f"melo-lane-{i}", daemon=True)
            for i in range(LANES + settings.parallel - 1)
        ]
        for lane in self._lanes:
            lane.start()

    def submit(self, job: Job) -> None:
        """Queue a job. Raises Refused (429) where too much waits already."""
        with self._ready:
            if self._rows_waiting + len(job.rows) > max(self.settings.queue, len(job.rows)):
                raise Refused(
                    429, "queue_full",
                    f"{self._rows_waiting} answers wait already; ask again in a moment.",
                    retry_after=1,
                )  # fmt: skip
            self._waiting.append(job)
            self._count(len(job.rows))
            self._ready.notify()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self._ready:
            return not self._waiting and self._running == 0

    def close(self) -> None:
        """Refuse what waits, end the lanes after what they run."""
        with self._ready:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._count(-self._rows_waiting)
            self._ready.notify_all()
        gone = Refused(503, "stopping", "the service is stopping.", retry_after=5)
        self._post([(job.on_done, (gone,)) for job in left])
        for lane in self._lanes:
            lane.join(timeout=5)

    def _lane(self) -> None:
        torch.set_num_threads(self.threads)
        while (batch := self._take()) is not None:
            turn = Turn(self, batch)
            try:
                turn.run()
            finally:
                turn.end()

    def _take(self) -> list[Job] | None:
        """The next batch, with a turn to run it; None when the service stops."""
        with self._ready:
            while not self._closed:
                if not self._waiting or self._running >= self.settings.parallel:
                    self._ready.wait()
                    continue
                self._let_it_fill()
                if self._closed or not self._waiting or self._running >= self.settings.parallel:
                    continue
                batch = self._pick()
                self._running += 1
                self._crowded = len(batch) > 1
                return batch
            return None

    def _let_it_fill(self) -> None:
        """Under load, wait a moment: clients that were just answered are about to ask again."""
        if not self._crowded:
            return
        end = time.monotonic() + self.settings.batch_wait_ms / 1000
        while (left := end - time.monotonic()) > 0:
            if self._closed or self._rows_waiting >= self.settings.max_batch:
                return
            self._ready.wait(left)

    def _pick(self) -> list[Job]:
        oldest = self._waiting[0]
        batch, rows = [oldest], len(oldest.rows)
        for job in self._waiting[1:]:
            if job.bucket == oldest.bucket and rows + len(job.rows) <= self.settings.max_batch:
                batch.append(job)
                rows += len(job.rows)
        picked = set(batch)
        self._waiting = [job for job in self._waiting if job not in picked]
        self._count(-rows)
        return batch

    def _give_turn(self) -> None:
        with self._ready:
            self._running -= 1
            self._ready.notify_all()

    def _count(self, rows: int) -> None:
        self._rows_waiting += rows
        self.metrics.waiting.set(self._rows_waiting)

    def _post(self, calls: list[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
        """Call functions in the event loop, all in one go."""
        if not calls:
            return
        try:
            self.loop.call_soon_threadsafe(_call_all, calls)
        except RuntimeError:  # the loop has ended: nobody waits any more
            log.debug("%d answers came after the end", len(calls))


class Turn:
    """One batch on its way: who is told what, and when the next batch may start."""

    def __init__(self, batcher: Batcher, jobs: list[Job]) -> None:
        self.batcher, self.jobs = batcher, jobs
        self._calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._held, self._steps = True, 0

    def run(self) -> None:
        """Run the batch. Where it fails, each job once more by itself: one must not fail others."""
        now = time.monotonic()
        jobs = [job for job in self.jobs if not self._given_up(job, now)]
        self.batcher.metrics.batch(sum(len(job.rows) for job in jobs))
        try:
            if jobs:
                self._run(jobs)
        except Exception as error:
            for job in jobs:
                if not job.told:
                    self._run_alone(job, error, len(jobs))
        self._tell(jobs)

    def end(self) -> None:
        """Give the turn back, if the batch still has it."""
        self._flush()
        if self._held:
            self._held = False
            self.batcher._give_turn()

    @torch.inference_mode()
    def _run(self, jobs: list[Job]) -> None:
        rows = [self._wired(row) for job in jobs for row in job.rows]
        loaded, kind = jobs[0].loaded, jobs[0].kind
        if kind == "generate":
            generate(loaded, rows, lambda: self._after_step(jobs))
        elif kind == "classify":
            classify(loaded, rows)
        else:
            find_routes(loaded, rows)

    def _run_alone(self, job: Job, first: Exception, of: int) -> None:
        try:
            if of == 1:
                raise first
            for row in job.rows:
                row.again()
            self._run([job])
        except Exception as error:
            # The type only: a message may quote the prompt.
            log.error("a batch failed: %s", type(error).__name__)
            log.debug("the failure", exc_info=True)
            self._finish(job, error)

    def _wired(self, row: Row) -> Row:
        """Let the pieces of a streamed answer go out with the next flush."""
        tell = row.on_text
        if tell is not None and not isinstance(tell, _Wire):
            row.on_text = _Wire(self._calls, tell)
        return row

    def _after_step(self, jobs: list[Job]) -> None:
        self._steps += 1
        self._tell(jobs)
        if self._held and self._steps >= PATIENCE:
            self._held = False
            self.batcher._give_turn()

    def _tell(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.told and all(row.finish is not None for row in job.rows):
                self._finish(job, None)
        self._flush()

    def _given_up(self, job: Job, now: float) -> bool:
        """A job that was cancelled, as a stream whose client has gone is, or whose time is up, is not
        begun."""
        if all(row.cancelled for row in job.rows):
            self._finish(job, Refused(499, "cancelled", "the client has gone."))
        elif now > job.rows[0].deadline:
            self._finish(job, Refused(504, "too_late", "the answer would have come too late."))
        return job.told

    def _finish(self, job: Job, error: Exception | None) -> None:
        job.told = True
        self._calls.append((job.on_done, (error,)))

    def _flush(self) -> None:
        calls, self._calls[:] = list(self._calls), []
        self.batcher._post(calls)


class _Wire:
    """Collects the pieces of a streamed answer for the next flush."""

    def __init__(self, calls: list[tuple[Callable[..., None], tuple[Any, ...]]], tell: Any) -> None:
        self.calls, self.tell = calls, tell

    def __call__(self, piece: str, tokens: Sequence[TokenLogprob]) -> None:
        self.calls.append((self.tell, (piece, tokens)))


def _call_all(calls: list[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
    for function, arguments in calls:
        function(*arguments)
