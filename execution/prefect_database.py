"""The SQLite database of a home's Prefect server: its tables are made once, and copied for other homes.

Prefect makes them by hundreds of migrations, most of the time that its first server in a home takes.

    CACHE/databases/prefect-<version>.db    the tables of this version of Prefect, without a row

CACHE is `config.user_cache()`; what lies there is made again where it is missing or damaged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from importlib import metadata
from pathlib import Path

from config import user_cache

NAME = "prefect.db"  # in the folder that the server stands in


def template() -> Path:
    """Where the tables of the installed Prefect are kept."""
    return user_cache() / "databases" / f"prefect-{metadata.version('prefect')}.db"


def provide(folder: Path) -> bool:
    """Copy the tables to a home that has none; whether its database is of the installed Prefect then."""
    kept, database = template(), folder / NAME
    current = _revision(kept)
    if current is None:
        return False
    if not database.exists():
        with contextlib.suppress(OSError):  # the server makes its tables itself then
            _copy(kept, database)
    return _revision(database) == current


def _copy(kept: Path, database: Path) -> None:
    """Copy one file whole or not at all; never over a database that another server has made meanwhile."""
    partial = database.with_name(f".{database.name}.{os.getpid()}.partial")
    try:
        shutil.copyfile(kept, partial)
        os.link(partial, database)
    finally:
        partial.unlink(missing_ok=True)


def _revision(database: Path) -> str | None:
    """Which migration was the last one; None where there is no database, or none that can be read."""
    if not database.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=1.0)) as opened:
            row = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None
