"""Which errors may pass by themselves: only those are worth another try.

    passes      the ledger is busy, a server is away or overloaded, a disk is full, a connection broke
    stays       everything else: bad input, a damaged version, a bug. Trying again changes nothing

`PATIENT` is what a task takes to try again with growing pauses while an error is one that passes.
"""

from __future__ import annotations

import errno
from typing import Any

from ledger import LedgerBusy

PAUSES = [2, 8, 30]  # seconds before each further try
FULL = {errno.ENOSPC, errno.EDQUOT}
BROKEN = {errno.EAGAIN, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH, errno.ENETUNREACH}
AWAY = ("httpx.", "httpcore.", "requests.exceptions.", "urllib3.exceptions.")
TEMPORARY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
SAID = ("database is locked", "could not connect", "connection refused", "api request to")
SAID_OF_DISK = "no space left on device"


def passes(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, may be gone at a later try."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if _passes(error):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def fills_a_disk(error: BaseException | None) -> bool:
    """Whether a disk is full: that passes, but not within seconds."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


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
        return getattr(error, "error_code", None) in TEMPORARY or any(s in text for s in SAID)
    return False


def _worth_it(task: Any, run: Any, state: Any) -> bool:
    """Prefect's question before each retry."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and passes(error) and not fills_a_disk(error)


PATIENT: dict[str, Any] = {
    "retries": len(PAUSES), "retry_delay_seconds": PAUSES, "retry_condition_fn": _worth_it,
}  # fmt: skip
