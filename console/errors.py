"""Which errors are the user's to mend: those that one of our `errors` modules defines, and the machine's.

A full or read-only disk shows in many ways: as an OSError, as DuckDB's or SQLite's own error, as an
error 500 of a server that could not write. So where a library that keeps files fails, the home's disk
is asked, and what it says is the reason.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import traceback
from pathlib import Path

from console.plugins import plugged_in
from execution.errors import causes

OURS = {
    "artifacts",
    "melo_engine",
    "ledger",
    "config",
    "registry",
    "execution",
    "tasks",
    "flows",
    "serving",
    "dashboards",
    "console",
    "deployment",
}
STORES = {
    "duckdb",
    "_duckdb",
    "safetensors",
    "sqlite3",
    "sqlalchemy",
    "mlflow",
    "prefect",
    "httpx",
    "httpcore",
    "alembic",
}
# A bug does not show so: what is asked of the system can't be had on this machine, or by this user.
OF_THE_MACHINE = {
    getattr(errno, name)
    for name in """
    EACCES EPERM EROFS ENOSPC EDQUOT EFBIG EIO ENOENT ENOTDIR EISDIR EEXIST ENOTEMPTY ELOOP
    ENAMETOOLONG EXDEV EMLINK ETXTBSY EBUSY ENODEV ENXIO ESTALE EMFILE ENFILE ENOMEM ENOLCK
    EOPNOTSUPP EADDRINUSE EADDRNOTAVAIL
    """.split()
}
DISK_MESSAGES = (
    "no space left",
    "read-only file system",
    "disk quota",
    "disk is full",
    "readonly database",
)
SERVER = "ServerProblem"  # of execution.errors: a server that does not come up may have no room
LEAST_ROOM = 4 * 2**20  # bytes; a database grows by some pages at a time


class UsageProblem(Exception):
    """Something wrong with what was asked of the command itself."""


def one_line(error: BaseException) -> str:
    """What a wrong command line's error says."""
    say = getattr(error, "format_message", None)
    return " ".join(str(say() if say else error).split())


def line_for_page(error: BaseException) -> str:
    """One line of an error for a page; of a bug, the traceback goes to stderr, which is kept in a log."""
    line = known_error(error)
    if line is None:
        traceback.print_exception(error)
    return line or f"{type(error).__name__}: {error}"


def known_error(error: BaseException, home: Path | None = None) -> str | None:
    """One line for a known error; None where it is a bug. home: whose disk is asked.

    Classes are known by the module that defines them, so that nothing is imported here that the
    command has not imported itself.
    """
    text = " ".join(str(error).split())
    chain = list(causes(error))
    keeps_files = any(type(cause).__module__.split(".")[0] in STORES for cause in chain)
    of_a_disk = any(text in str(cause).lower() for cause in chain for text in DISK_MESSAGES)
    disk = None
    if home is not None and (keeps_files or of_a_disk or type(error).__name__ == SERVER):
        disk = unwritable(home)
    if any(_is_ours(kind) for kind in type(error).__mro__):
        return f"{text} {disk}" if disk else text
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        return _system_line(error)
    if disk is not None:
        return disk
    if of_a_disk:
        return text[:500]
    if type(error).__name__ in ("MlflowException", "RestException"):
        return f"MLflow says: {text[:500]}"
    return None


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written in a folder, in one line; None where it can.

    Some bytes are written and taken away again.
    """
    place = next((p for p in (folder, *folder.absolute().parents) if p.is_dir()), Path("/"))
    probe = place / f".melo-{os.getpid()}.probe"
    try:
        if shutil.disk_usage(place).free < LEAST_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        with probe.open("wb") as file:
            file.write(bytes(2**16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _system_line(OSError(error.errno, os.strerror(error.errno or 0), str(folder)))
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def _is_ours(kind: type) -> bool:
    place = kind.__module__.split(".")
    if place[-1] != "errors":
        return False
    return place[0] in OURS or place[0] in {e.module.split(".")[0] for e in plugged_in().values()}


def _system_line(error: OSError) -> str:
    """One line of a system error: the file, the reason, and what to do about it."""
    reason = error.strerror or os.strerror(error.errno or 0)
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    remedy = {
        errno.ENOSPC: " Free some space, then run it again: what is recorded is kept.",
        errno.EDQUOT: " Free some space, then run it again: what is recorded is kept.",
        errno.EROFS: " `melo status`, `report` and `doctor` read it all the same.",
    }.get(error.errno or 0, "")
    return f"{place}{reason}.{remedy}"
