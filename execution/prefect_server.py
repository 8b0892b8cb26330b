"""Prefect's server of one run, as a process: `python -P prefect_server.py PORT FOLDER TEMPLATE`.

Imports nothing of ours, so that it starts by its path from any folder. What it imports stays until it
ends: the collector of garbage looks at none of it.

PORT: of loopback. FOLDER: Prefect is imported from it. TEMPLATE: where the new database is kept for
other homes once its tables are made, empty for nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
import sys

DATABASE = "prefect.db"  # in the folder that this process stands in


def main(port: int, folder: str, template: str) -> None:
    """Serve until told to end."""
    gc.disable()
    sys.path.insert(0, folder)
    import uvicorn
    from prefect.server.api import server

    if template:
        asyncio.run(_make_tables())
        with contextlib.suppress(OSError, sqlite3.Error):  # another home makes its own then
            _keep(template)
    gc.freeze()
    gc.enable()
    uvicorn.run(
        server.create_app,
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


async def _make_tables() -> None:
    from prefect.server.database import provide_database_interface

    database = provide_database_interface()
    await database.create_db()
    await (await database.engine()).dispose()


def _keep(template: str) -> None:
    """Copy the database, which has no rows of this home yet."""
    partial = f"{template}.{os.getpid()}.partial"
    os.makedirs(os.path.dirname(template), exist_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(DATABASE)) as database,
            contextlib.closing(sqlite3.connect(partial)) as copy,
        ):
            database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without others beside it
        os.replace(partial, template)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
