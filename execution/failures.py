"""A job's failure: put on record, and the job handed back, to be tried again or set aside."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from execution import leases
from execution.alerts import tell
from execution.context import Context
from execution.errors import TaskError
from execution.leases import JobRef
from execution.lineage import BASE, head
from execution.retries import FailureKind, fault_of
from melo_engine import MeloError


@contextlib.contextmanager
def working_on(context: Context, job: JobRef) -> Iterator[None]:
    """Put on record what fails inside, and hand the job back, to be tried again or set aside.

    What is not the job's own fault ends the run instead, without counting against the job: an error
    that may pass, a base that can't be opened, an order to end. The next run goes on from there.
    """
    try:
        yield
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
        with context.step():
            _keep_traceback(context, job)
            fault = fault_of(error)
            if fault is not FailureKind.NOT_ITS and not _base_opens(context):
                fault = FailureKind.NOT_ITS
            result = leases.hand_back(context, job, message, fault)
            context.ledger.events.record(
                "job-failed",
                f"job {job.id}, attempt {job.attempt}: {message[:500]}; {result.value}",
                severity="error",
            )
        if result is leases.Handback.SET_ASIDE:
            set_aside = f"job {job.id} is set aside: {message[:500]}"
            tell(context, "job.set-aside", set_aside, job=job.id)
        if fault is FailureKind.NOT_ITS:
            raise


def _base_opens(context: Context) -> bool:
    """Whether the head of the line can be read from disk: where not, no job can be trained."""
    context.versions.forget_opened()
    try:
        context.versions.open(head(context.ledger) or BASE)
    except (MeloError, TaskError, OSError):
        return False
    return True


def _keep_traceback(context: Context, job: JobRef) -> None:
    """Append it to HOME/logs/failures.log, where the reason on record is not enough."""
    log = context.paths.log("failures")
    with contextlib.suppress(OSError):  # a full disk must not keep the job from being handed back
        log.parent.mkdir(exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"job {job.id}, attempt {job.attempt}\n{traceback.format_exc()}\n")
