"""The file behind the ledger: many processes, one writer at a time, short transactions.

    caller ── with store.write() as con ───►  lock file (flock)  ──►  DuckDB opens the file
                                              BEGIN ... COMMIT        closes it, lock released
                                              read copy published (os.replace)

What is committed stays committed: a read copy that can't be published is logged, and published
with a later change or when the ledger is closed.

DuckDB lets one process write a file or many read it. The lock file beside the ledger is a queue
in front of that: a waiting process sleeps in the kernel, and the kernel frees the lock of a process
that dies. A foreign process that holds the file itself (a DuckDB shell) is waited for with
growing pauses. docs/decisions/ledger-one-file-or-served.md has the figures.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import logging
import os
import random
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from ledger import functions, schema
from ledger.errors import LedgerBusy, LedgerError, LedgerTooOld, NotALedger

Connection: TypeAlias = duckdb.DuckDBPyConnection
Values: TypeAlias = Sequence[object] | Mapping[str, object] | None
log = logging.getLogger(__name__)

BETWEEN_TRIES = 0.004  # seconds, at our own lock
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
HELD = "could not set lock on file"  # DuckDB's words for a file that another process has open
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.25  # seconds, at a file that a foreign process holds


class Store:
    """A ledger's file, opened for the time of one transaction; created or migrated at the start."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        timeout: float = 120.0,
        threads: int = 2,
        read_copy: Path | None = None,
    ) -> None:
        """`read_copy` names the file that is published for readers after changes.

        Raises NotALedger, LedgerTooNew, LedgerBusy; LedgerTooOld where `read_only` forbids to migrate.
        """
        self.path = path
        self.read_only = read_only
        self._timeout = timeout
        self._threads = threads
        self._guard = threading.RLock()
        self._con: Connection | None = None
        self._writing = False
        self._read_copy = read_copy
        self._unpublished = False
        self._next_publication = 0.0
        self._prepare()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write; within another one it is part of that one."""
        with self._guard:
            if self._con is not None:
                if not self._writing:
                    raise LedgerError("a read transaction is open; write in one of its own.")
                yield self._con
                return
            if self.read_only:
                raise LedgerError(f"{self.path} was opened for reading only.")
            with self._locked(fcntl.LOCK_EX):
                con = self._connect(read_only=False)
                self._con, self._writing = con, True
                try:
                    con.execute("BEGIN")
                    yield con
                    con.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(duckdb.Error):
                        con.execute("ROLLBACK")
                    raise
                finally:
                    self._con, self._writing = None, False
                    con.close()
                self._unpublished = True
                self._publish_if_due()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; inside `write()` it sees that transaction's changes."""
        with self._guard:
            if self._con is not None:
                yield self._con
                return
            with self._locked(fcntl.LOCK_SH):
                con = self._connect(read_only=True)
                self._con = con
                try:
                    yield con
                finally:
                    self._con = None
                    con.close()

    def rows(self, sql: str, values: Values = None) -> list[Any]:
        """All rows of one query, in the transaction that is open or in one of its own."""
        with self.read() as con:
            rows: list[Any] = con.execute(sql, values).fetchall()
            return rows

    def publish(self) -> None:
        """Publish the read copy now if anything changed since the last time.

        Where it can't be written, that is logged and the copy there is stays.
        """
        if self._unpublished and self._read_copy is not None:
            with self._guard, self._locked(fcntl.LOCK_SH):
                self._copy()

    def close(self) -> None:
        """Publish what is unpublished. The file itself is never held between transactions."""
        if not self.read_only:
            self.publish()

    # --- below: locks, connections, copies

    def _prepare(self) -> None:
        if self.read_only:
            if not self.path.exists():
                raise NotALedger(f"{self.path} does not exist. Create it with `melo init`.")
            with self.read() as con:
                version = schema.version_of(con, self.path)
            if version < schema.latest():
                raise LedgerTooOld(
                    f"{self.path} has schema {version}, this release reads {schema.latest()}. Any "
                    "command that writes brings it up."
                )
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._guard, self._locked(fcntl.LOCK_EX):
            fresh = not self.path.exists()
            con = self._connect(read_only=False)
            try:
                version = 0 if fresh else schema.version_of(con, self.path)
                if 0 < version < schema.latest():
                    con.close()
                    schema.back_up(self.path, version)
                    con = self._connect(read_only=False)
                if version < schema.latest():
                    schema.migrate(con, version)
                    self._unpublished = True
                if self._read_copy is not None and not self._read_copy.exists():
                    self._unpublished = True
            finally:
                con.close()

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Hold the lock, shared or exclusive.

        Whoever wants it waits at a turnstile first and keeps that until the lock is his: so a
        process that has just let go queues behind the one that waits, and nobody starves.
        """
        deadline = time.monotonic() + self._timeout
        with contextlib.ExitStack() as held:
            lock = self._descriptor(".lock", held)
            with contextlib.ExitStack() as passing:
                if (turnstile := self._descriptor(".turn", passing)) is not None:
                    self._wait(turnstile, fcntl.LOCK_EX, deadline)
                if lock is not None:
                    self._wait(lock, kind, deadline)
            yield

    def _descriptor(self, suffix: str, until: contextlib.ExitStack) -> int | None:
        """A lock file, open; None where it is missing and a reader may not make it.

        Where nothing can be written a reader takes the files that are there.
        """
        name = self.path.with_name(self.path.name + suffix)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o644)
        except OSError as error:
            if not self.read_only or error.errno not in UNWRITABLE:
                raise
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None
        until.callback(os.close, descriptor)
        return descriptor

    def _wait(self, descriptor: int, kind: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerBusy(
                        f"{self.path} was busy for {self._timeout:.0f} s. Look for a process "
                        "that hangs, or raise ledger.timeout_seconds."
                    ) from None
            time.sleep(random.uniform(0.5, 1.5) * BETWEEN_TRIES)

    def _connect(self, *, read_only: bool) -> Connection:
        config = configuration(self._threads)
        if not read_only:
            config["storage_compatibility_version"] = "v1.5.0"
        deadline, pause = time.monotonic() + self._timeout, FIRST_PAUSE
        while True:
            try:
                con = duckdb.connect(str(self.path), read_only=read_only, config=config)
                con.execute("SET TimeZone = 'UTC'")
                con.execute("SET enable_external_access = false")
                if not read_only:
                    functions.register(con)
                return con
            except duckdb.Error as error:
                if HELD not in str(error).lower():
                    reason = str(error).splitlines()[0][:300]
                    raise NotALedger(f"{self.path} can't be opened: {reason}") from None
                if time.monotonic() > deadline:
                    raise LedgerBusy(f"{self.path} is held by another program.") from None
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _publish_if_due(self) -> None:
        """Called under the exclusive lock: half-written copies are of writers that died."""
        if self._read_copy is not None and time.monotonic() >= self._next_publication:
            with contextlib.suppress(OSError):
                for left in self._read_copy.parent.glob(f".{glob.escape(self._read_copy.name)}.*"):
                    left.unlink(missing_ok=True)
            self._copy()

    def _copy(self) -> None:
        """Copy the closed file beside its place and move it there: readers see old or new."""
        assert self._read_copy is not None
        started = time.monotonic()
        name = f".{self._read_copy.name}.{os.getpid()}-{secrets.token_hex(4)}"
        fresh = self._read_copy.with_name(name)
        try:
            self._read_copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, fresh)
            os.replace(fresh, self._read_copy)
            self._unpublished = False
        except OSError as error:
            log.warning("%s can't be published, later then: %s", self._read_copy, error)
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
        spent = time.monotonic() - started
        self._next_publication = time.monotonic() + max(0.5, 10 * spent)


def configuration(threads: int) -> dict[str, Any]:
    """How DuckDB is opened: it fetches nothing from outside."""
    return {
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def first(result: Connection) -> Any:
    """The first row or None, with the result read to its end: an open one blocks the connection."""
    rows = result.fetchall()
    return rows[0] if rows else None


def column(result: Connection) -> list[Any]:
    """The first column of all rows."""
    return [row[0] for row in result.fetchall()]


@contextlib.contextmanager
def registered(
    con: Connection, name: str, schema: pa.Schema, rows: Iterable[Sequence[object]]
) -> Iterator[None]:
    """Let statements read these rows as a table, by its name, until the block ends."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    con.register(name, pa.table(list(map(pa.array, columns, schema.types)), schema=schema))
    try:
        yield
    finally:
        con.unregister(name)


def texts(*names: str) -> pa.Schema:
    """A schema whose columns are texts."""
    return pa.schema([(name, pa.string()) for name in names])
