"""Reports and facts into the ledger: given paths, or what lies in the inbox."""

from __future__ import annotations

from prefect import flow

from tasks.ingest import task


@flow(name="ingest", description=__doc__)
def ingest(home: str, paths: tuple[str, ...] = ()) -> dict[str, int]:
    """Take in what waits; how many lines, accepted and quarantined."""
    return task.ingest(home, list(paths)) if paths else task.inbox(home)
