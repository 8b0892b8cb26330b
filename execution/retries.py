"""Which errors may pass by themselves: only those are worth another try.

    passes      the ledger is busy, a server is away or overloaded, a disk is full, a connection broke
    stays       everything else: bad input, a damaged version, a bug. Trying again changes nothing

What stays may still not be the job's own: `fault_of` says what an error says of the job it ended.

`PATIENT` is what a task takes to try again with growing pauses while an error is one that passes.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Any

from execution.errors import GateBlocked, causes
from ledger import LedgerBusy

PAUSES = [2, 8, 30]  # seconds before each further try
FULL = {errno.ENOSPC, errno.EDQUOT}
BROKEN = {errno.EAGAIN, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH, errno.ENETUNREACH}
AWAY = ("httpx.", "httpcore.", "requests.exceptions.", "urllib3.exceptions.")
TEMPORARY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
MESSAGES = ("database is locked", "could not connect", "connection refused", "api request to")
SHORT = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}
SHORT_KINDS = ("OutOfMemoryError", "AcceleratorError", "MemoryError")
SHORTAGE_MESSAGES = ("out of memory", "allocate memory", "cuda error")


class FailureKind(Enum):
    """Whether an error lies in the job that it ended."""

    OWN = "own"
    DOUBTFUL = "doubtful"  # in the job or in the machine: no memory, no file handle, a dead worker
    NOT_ITS = "not its"


def passes(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, may be gone at a later try."""
    return any(_passes(e) for e in causes(error))


def fault_of(error: BaseException) -> FailureKind:
    """What an error, or what it came from, says of the job that it ended."""
    if passes(error) or not isinstance(error, Exception):
        return FailureKind.NOT_ITS
    if any(isinstance(e, GateBlocked) for e in causes(error)):
        return FailureKind.NOT_ITS
    return FailureKind.DOUBTFUL if any(_of_shortage(e) for e in causes(error)) else FailureKind.OWN


def fills_a_disk(error: BaseException | None) -> bool:
    """Whether a disk is full: that passes, but not within seconds."""
    return any(isinstance(e, OSError) and e.errno in FULL for e in causes(error))


def _of_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in SHORT
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return type(error).__name__ in SHORT_KINDS or any(s in text for s in SHORTAGE_MESSAGES)


def _passes(error: BaseException) -> bool:
    if isinstance(error, LedgerBusy | ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in FULL | BROKEN:
        return True
    kind = f"{type(error).__module__}.{type(error).__name__}"
    if kind.startswith(AWAY):
        status = getattr(getattr(error, "response", None), "status_code", None)
        return status is None or status in (408, 429) or status >= 500
    if kind == "sqlalchemy.exc.OperationalError":
        return True
    if type(error).__name__ in ("MlflowException", "RestException"):
        text = str(error).lower()
        return getattr(error, "error_code", None) in TEMPORARY or any(s in text for s in MESSAGES)
    return False


def _worth_it(task: Any, run: Any, state: Any) -> bool:
    """Prefect's question before each retry."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and passes(error) and not fills_a_disk(error)


PATIENT: dict[str, Any] = {
    "retries": len(PAUSES),
    "retry_delay_seconds": PAUSES,
    "retry_condition_fn": _worth_it,
}
