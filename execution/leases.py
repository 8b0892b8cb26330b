"""One worker's share: take a job, keep its lease while at it, hand it back after an error.

A job is named between steps by `JobRef`: its attempt is the fencing token, so a worker that lost
its lease can't end the job of another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from execution.context import Context
from execution.retries import FailureKind
from ledger import Job, LeaseLost, Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRef:
    """What steps hand each other: a job, and by which attempt of which worker it is held."""

    id: str
    attempt: int
    worker: str


def this_worker() -> str:
    """Name of this process among the workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


def lease(context: Context, but: Sequence[str] = ()) -> JobRef | None:
    """Take the most pressing job that is not in `but`; None where no other waits."""
    job = context.ledger.jobs.lease(
        this_worker(),
        lease_seconds=context.settings.plan.lease_seconds,
        max_attempts=context.settings.plan.max_attempts,
        but=but,
    )
    return JobRef(job.id, job.attempt, job.worker or "") if job else None


def held(ledger: Ledger, ref: JobRef) -> Job:
    """The job as this attempt holds it, without edits that were withdrawn since it was planned."""
    job = ledger.jobs.get(ref.id)
    edits = tuple(e for e in job.edits if (e.state, e.job_id) == ("planned", ref.id))
    return replace(job, edits=edits, attempt=ref.attempt, worker=ref.worker)


class Handback(Enum):
    """What became of a job that was handed back, as a user reads it."""

    TRIED_AGAIN = "the next run tries it again"
    POSTPONED = "that may pass: the next run goes on from here"
    SET_ASIDE = "it is set aside"
    ENDED = "it had ended before; the next run finishes what is left"


def hand_back(
    context: Context, ref: JobRef, error: str, fault: FailureKind = FailureKind.OWN
) -> Handback:
    """Hand a job back after an error; its fault decides whether the try counts in full, less, or not."""
    most = context.settings.plan.max_attempts
    try:
        job = held(context.ledger, ref)
        if fault is FailureKind.NOT_ITS:
            context.ledger.jobs.postpone(job, error)
            return Handback.POSTPONED
        doubtful = fault is FailureKind.DOUBTFUL
        again = context.ledger.jobs.fail(job, error, max_attempts=most, doubtful=doubtful)
        return Handback.TRIED_AGAIN if again else Handback.SET_ASIDE
    except LeaseLost:
        return Handback.ENDED


@contextlib.contextmanager
def heartbeat(context: Context, ref: JobRef) -> Iterator[None]:
    """Prolong the lease from a thread for the time of the block, also during long GPU work.

    A beat that fails is tried again soon, until the lease is another's.
    """
    ended = threading.Event()
    job = held(context.ledger, ref)

    def beat() -> None:
        lease = context.settings.plan.lease_seconds
        pause = lease / 3
        while not ended.wait(pause):
            try:
                context.ledger.jobs.heartbeat(job, lease_seconds=lease)
                pause = lease / 3
            except LeaseLost:
                return  # the step's own end finds out and throws its work away
            except Exception as error:  # a ledger that is busy, a disk that is full
                log.warning("job %s: its lease was not prolonged: %s", ref.id, error)
                pause = lease / 30

    thread = threading.Thread(target=beat, name=f"heartbeat-{ref.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=10)
