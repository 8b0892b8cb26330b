"""Open the published copy of the ledger: never the live file, never a lock that a writer waits for.

The copy is replaced in one step (`os.replace`) while readers have it open. Each opening is a DuckDB
instance of its own with the file attached read-only, so it sees the copy that was there when it
was opened, and two openings may see two copies.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ledger import schema
from ledger.errors import LedgerError, NotALedger
from ledger.store import Connection, configuration

TRIES = 5  # of opening a copy that is replaced at that very moment


class ReadCopy:
    """The copy at a path. It need not exist yet."""

    def __init__(self, path: Path, *, threads: int = 2) -> None:
        self.path = path
        self._threads = threads

    def stamp(self) -> str:
        """Changes whenever another copy is published. Raises NotALedger where there is none."""
        try:
            status = os.stat(self.path)
        except OSError:
            raise NotALedger(
                f"{self.path} is not there: nothing has been published yet. Take something in with "
                "`melo ingest`, or run `melo demo`."
            ) from None
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"

    def is_current(self) -> bool:
        """Whether it is there and of this release's schema."""
        try:
            with self.open():
                return True
        except LedgerError:
            return False

    @contextlib.contextmanager
    def open(self) -> Iterator[Connection]:
        """A connection whose tables are the copy's. Raises NotALedger, LedgerTooNew."""
        con = self._connect()
        try:
            yield con
        finally:
            con.close()

    def _connect(self) -> Connection:
        for left in reversed(range(TRIES)):
            before = self.stamp()
            con = duckdb.connect(config=configuration(self._threads))
            try:
                name = str(self.path).replace("'", "''")
                con.execute(f"ATTACH '{name}' AS ledger (READ_ONLY)")
                con.execute("USE ledger")
                con.execute("SET TimeZone = 'UTC'")
                con.execute("SET enable_external_access = false")
                self._check(con)
            except duckdb.Error as error:
                con.close()
                if left:
                    continue
                reason = str(error).splitlines()[0][:200]
                raise NotALedger(f"{self.path} can't be read: {reason}") from None
            except BaseException:
                con.close()
                raise
            if left == 0 or before == self.stamp():
                return con
            con.close()
        raise AssertionError("unreachable")

    def _check(self, con: Connection) -> None:
        version = schema.version_of(con, self.path)
        if version < schema.latest():
            raise NotALedger(
                f"{self.path} has schema {version}, this release reads {schema.latest()}. Run "
                "`melo status` once: it brings the ledger up and publishes a new copy."
            )


def table(con: Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> pa.Table:
    """The rows of a query as an Arrow table, read to its end."""
    return con.sql(sql, params=values or None).to_arrow_table()


def rows(
    con: Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()
) -> list[dict[str, Any]]:
    """The rows of a query, each by the names of its columns."""
    records: list[dict[str, Any]] = table(con, sql, values).to_pylist()
    return records


def row(
    con: Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()
) -> dict[str, Any] | None:
    """The first row of a query, None where it has none."""
    return next(iter(rows(con, sql, values)), None)
