"""Micro-batching: questions of many clients become one batch, each with the block of its own edit.

    submit ──► waiting ─┬─ answers of most models ──► continuous: join the batch that runs
                        └─ others: oldest first, same version, like lengths ──► lane ──► run
                 full: RequestRefused 429             each job is told when its rows end ◄──┘

Beside the one continuous batch, one other runs at a time (`serve.parallel`). One that goes on for long,
because one answer is long, gives its turn to the next one and runs beside it, so that short answers
never wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from asyncio import AbstractEventLoop

import torch

from config.sections import ServeSettings
from melo_engine import Backbone
from serving.continuous import ContinuousBatch
from serving.errors import RequestRefused
from serving.jobs import Calls, Delivery, GenerationJob
from serving.metrics import Metrics

LANES = 4  # batches that may be in the works, long ones included
PATIENCE = 16  # tokens after which a batch lets the next one start
MEBIBYTE = 2**20
log = logging.getLogger("melo.serving")


class Batcher:
    """Owns the threads that run batches. Jobs come from one event loop and go back to it."""

    def __init__(
        self, settings: ServeSettings, metrics: Metrics, loop: AbstractEventLoop, backbone: Backbone
    ) -> None:
        self.settings, self.metrics, self.loop = settings, metrics, loop
        self._ready = threading.Condition()
        self._waiting: list[GenerationJob] = []
        self._rows_waiting = 0
        self._running = 0  # batches that have a turn
        self._crowded = False  # the last batch held more than one job
        self._closed = False
        self.continuous = ContinuousBatch(
            backbone,
            prefix_bytes=settings.prefix_cache_mb * MEBIBYTE,
            running_bytes=settings.kv_cache_mb * MEBIBYTE,
        )
        self._answering: list[GenerationJob] = []  # in the continuous batch
        self.threads = torch.get_num_threads()
        self._threads = [
            threading.Thread(target=self._lane, name=f"melo-lane-{i}", daemon=True)
            for i in range(LANES + settings.parallel - 1)
        ]
        if self.continuous.usable:
            self._threads.append(
                threading.Thread(target=self._continue, name="melo-continuous", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    def submit(self, job: GenerationJob) -> None:
        """Queue a job. Raises RequestRefused (429) where too much waits already."""
        with self._ready:
            if self._rows_waiting + len(job.rows) > max(self.settings.queue, len(job.rows)):
                raise RequestRefused(
                    429,
                    "queue_full",
                    f"{self._rows_waiting} answers wait already; ask again in a moment.",
                    retry_after=1,
                )
            self._waiting.append(job)
            self._count(len(job.rows))
            self._ready.notify_all()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self._ready:
            return not (self._waiting or self._running or self._answering)

    def close(self) -> None:
        """Refuse what waits, end the threads after what they run."""
        with self._ready:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._count(-self._rows_waiting)
            self._ready.notify_all()
        gone = RequestRefused(503, "stopping", "the service is stopping.", retry_after=5)
        self._post([(job.on_done, (gone,)) for job in left])
        for thread in self._threads:
            thread.join(timeout=5)

    def _continue(self) -> None:
        """Step the continuous batch for as long as there are rows in it; take in what waits."""
        torch.set_num_threads(self.threads)
        delivery = Delivery(self._post)
        while self._take_in(delivery):
            try:
                self.continuous.step()
            except Exception as error:
                self.continuous.clear()
                delivery.run_separately(self._answering, error)
            delivery.tell(self._answering)
            with self._ready:
                self._answering = [job for job in self._answering if not job.done]

    def _take_in(self, delivery: Delivery) -> bool:
        """Let waiting jobs join, as many as there is room for. False when the service has stopped."""
        with self._ready:
            while not (jobs := self._pick_joining()) and not self._answering:
                if self._closed:
                    return False
                self._ready.wait()
            self._answering += jobs
        jobs = delivery.begin(jobs)
        if jobs:
            try:
                self.continuous.join(jobs)
                self.metrics.batch_rows.observe(len(self.continuous))
            except Exception as error:
                self.continuous.clear()
                delivery.run_separately(self._answering, error)
        delivery.tell(self._answering)
        return True

    def _pick_joining(self) -> list[GenerationJob]:
        """Take the oldest jobs that wait for the continuous batch and fit in."""
        room = self.settings.max_batch - len(self.continuous)
        picked: list[GenerationJob] = []
        for job in self._waiting:
            if self._continues(job):
                room -= len(job.rows)
                if room < 0:
                    break
                picked.append(job)
        self._remove(picked)
        return picked

    def _continues(self, job: GenerationJob) -> bool:
        """Whether a job is for the continuous batch."""
        return job.kind == "generate" and self.continuous.usable

    def _lane(self) -> None:
        torch.set_num_threads(self.threads)
        while (batch := self._take()) is not None:
            turn = Turn(self, batch)
            try:
                turn.run()
            finally:
                turn.end()

    def _take(self) -> list[GenerationJob] | None:
        """The next batch of a lane, with a turn to run it; None when the service stops."""
        with self._ready:
            while not self._closed:
                if not self._may_run():
                    self._ready.wait()
                    continue
                self._wait_to_fill()
                if self._closed or not self._may_run():
                    continue
                batch = self._pick()
                self._running += 1
                self._crowded = len(batch) > 1
                return batch
            return None

    def _may_run(self) -> bool:
        return self._running < self.settings.parallel and bool(self._for_lanes())

    def _for_lanes(self) -> list[GenerationJob]:
        return [job for job in self._waiting if not self._continues(job)]

    def _wait_to_fill(self) -> None:
        """Under load, wait a moment: clients that were just answered are about to ask again."""
        if not self._crowded:
            return
        end = time.monotonic() + self.settings.batch_wait_ms / 1000
        while (left := end - time.monotonic()) > 0:
            if self._closed or self._rows_waiting >= self.settings.max_batch:
                return
            self._ready.wait(left)

    def _pick(self) -> list[GenerationJob]:
        oldest, *newer = self._for_lanes()
        batch, rows = [oldest], len(oldest.rows)
        for job in newer:
            if job.bucket == oldest.bucket and rows + len(job.rows) <= self.settings.max_batch:
                batch.append(job)
                rows += len(job.rows)
        self._remove(batch)
        return batch

    def _remove(self, jobs: list[GenerationJob]) -> None:
        """Take jobs out of those that wait."""
        if jobs:
            picked = set(jobs)
            self._waiting = [job for job in self._waiting if job not in picked]
            self._count(-sum(len(job.rows) for job in jobs))

    def _give_turn(self) -> None:
        with self._ready:
            self._running -= 1
            self._ready.notify_all()

    def _count(self, rows: int) -> None:
        self._rows_waiting += rows
        self.metrics.waiting.set(self._rows_waiting)

    def _post(self, calls: Calls) -> None:
        """Call functions in the event loop, all in one go."""
        if not calls:
            return
        try:
            self.loop.call_soon_threadsafe(_call_all, calls)
        except RuntimeError:  # the loop has ended: nobody waits any more
            log.debug("%d answers came after the end", len(calls))


class Turn:
    """One lane's batch on its way: when it has ended, and when the next one may start."""

    def __init__(self, batcher: Batcher, jobs: list[GenerationJob]) -> None:
        self.batcher, self.jobs = batcher, jobs
        self._delivery = Delivery(batcher._post)
        self._held, self._steps = True, 0

    def run(self) -> None:
        """Run the batch. Where it fails, each job once more by itself."""
        jobs = self._delivery.begin(self.jobs)
        self.batcher.metrics.batch_rows.observe(sum(len(job.rows) for job in jobs))
        try:
            if jobs:
                self._delivery.run(jobs, lambda: self._after_step(jobs))
        except Exception as error:
            self._delivery.run_separately(jobs, error)
        self._delivery.tell(jobs)

    def end(self) -> None:
        """Give the turn back, if the batch still has it."""
        self._delivery.flush()
        if self._held:
            self._held = False
            self.batcher._give_turn()

    def _after_step(self, jobs: list[GenerationJob]) -> None:
        self._steps += 1
        self._delivery.tell(jobs)
        if self._held and self._steps >= PATIENCE:
            self._held = False
            self.batcher._give_turn()


def _call_all(calls: Calls) -> None:
    for function, arguments in calls:
        function(*arguments)
