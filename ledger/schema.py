"""Numbered migrations: an older ledger is brought up on opening, a newer one is refused.

    migrations/0001_first.sql, 0002_....sql   each in one transaction, in the order of their numbers

Before an older file is touched a copy of it is put beside it (`ledger.duckdb.v1.bak`).
"""

from __future__ import annotations

import shutil
from functools import cache
from importlib import resources
from pathlib import Path

import duckdb

from ledger.errors import LedgerTooNew, NotALedger


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Every migration that this release knows: (number, SQL), in order."""
    scripts = []
    for entry in resources.files("ledger.migrations").iterdir():
        if entry.name.endswith(".sql"):
            scripts.append((int(entry.name.split("_")[0]), entry.read_text(encoding="utf-8")))
    return tuple(sorted(scripts))


def latest() -> int:
    """The number of the schema that this release writes."""
    return migrations()[-1][0]


def version_of(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The schema's number in an open file; 0 in an empty one.

    Raises NotALedger where the file holds other tables, LedgerTooNew where it is ahead of this
    release.
    """
    tables = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        return 0
    if "schema_versions" not in tables:
        raise NotALedger(f"{path} is a DuckDB file, but not a ledger. Choose another --home.")
    rows = con.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchall()
    version = int(rows[0][0])
    if version > latest():
        raise LedgerTooNew(
            f"{path} has schema {version}; this release knows up to {latest()}. "
            "Install the release that wrote it, or restore its .bak copy."
        )
    return version


def back_up(path: Path, version: int) -> None:
    """Copy the file under its schema's number. The file must be closed."""
    shutil.copy2(path, path.with_name(f"{path.name}.v{version}.bak"))


def migrate(con: duckdb.DuckDBPyConnection, version: int) -> None:
    """Apply the migrations after schema `version`, each in its own transaction."""
    for number, sql in migrations():
        if number <= version:
            continue
        con.execute("BEGIN")
        try:
            con.execute(
                "CREATE TABLE IF NOT EXISTS schema_versions "
                "(version INTEGER, applied_at TIMESTAMPTZ)"
            )
            con.execute(sql)
            con.execute("INSERT INTO schema_versions VALUES (?, now())", [number])
            con.execute("COMMIT")
        except duckdb.Error:
            con.execute("ROLLBACK")
            raise
