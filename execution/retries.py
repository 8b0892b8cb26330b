"""Which errors may pass by themselves: only those are worth another try.

    passes      the ledger is busy, a server is away or overloaded, a disk is full, a connection broke
    stays       everything else: bad input, a damaged version, a bug. Trying again changes nothing

What stays may still not be the job's own: `fault_of` says what an error says of the job it ended. A job
is questions and answers. A home that may not be written, thresholds that mean nothing, a version or a
cache that is damaged are mended by somebody, and no edit is rejected for them.

`PATIENT` is what a task takes to try again with growing pauses while an error is one that passes.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from enum import Enum
from typing import Any

import duckdb

from artifacts.errors import ArtifactError
from config.errors import ConfigError
from execution.errors import TaskError, causes
from ledger import LedgerBusy, NotALedger
from melo_engine.errors import BackboneError, SettingsError, VersionError
from registry.errors import RegistryError

PAUSES = [2, 8, 30]  # seconds before each further try
FULL = {errno.ENOSPC, errno.EDQUOT}
BROKEN = {errno.EAGAIN, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH, errno.ENETUNREACH}
AWAY = ("httpx.", "httpcore.", "requests.exceptions.", "urllib3.exceptions.")
TEMPORARY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
MESSAGES = ("database is locked", "could not connect", "connection refused", "api request to")
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
SHORT = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}
SHORT_KINDS = ("OutOfMemoryError", "OutOfMemoryException", "AcceleratorError", "MemoryError")
# Libraries that keep files say in words that a disk is full.
STORES = ("_duckdb", "duckdb", "sqlite3", "sqlalchemy", "safetensors", "pyarrow")
FULL_MESSAGES = (*(os.strerror(code).lower() for code in FULL), "disk is full")
OF_THE_HOME = (
    TaskError,
    ArtifactError,
    RegistryError,
    ConfigError,
    NotALedger,
    VersionError,
    BackboneError,
    SettingsError,
    duckdb.OperationalError,
)
DAMAGED = (sqlite3.OperationalError, sqlite3.DatabaseError)  # and none of what descends from them
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
    if any(_of_shortage(e) for e in causes(error)):
        return FailureKind.DOUBTFUL
    return FailureKind.NOT_ITS if any(map(_of_home, causes(error))) else FailureKind.OWN


def fills_a_disk(error: BaseException | None) -> bool:
    """Whether a disk is full: that passes, but not within seconds."""
    return any(map(_fills_a_disk, causes(error)))


def _fills_a_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    if not type(error).__module__.startswith(STORES):
        return False
    return any(message in str(error).lower() for message in FULL_MESSAGES)


def _of_home(error: BaseException) -> bool:
    """Whether a file, a setting or a library of the home is what is wrong, and no report."""
    if isinstance(error, OSError):
        return error.errno in FORBIDDEN
    kind = type(error)
    return isinstance(error, OF_THE_HOME) or kind in DAMAGED or kind.__name__ == "SafetensorError"


def _of_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in SHORT
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return type(error).__name__ in SHORT_KINDS or any(s in text for s in SHORTAGE_MESSAGES)


def _passes(error: BaseException) -> bool:
    if isinstance(error, LedgerBusy | ConnectionError | TimeoutError):
        return True
    if _fills_a_disk(error) or (isinstance(error, OSError) and error.errno in BROKEN):
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
