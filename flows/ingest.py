"""Reports and facts into the ledger: given paths, or what lies in the inbox."""

from __future__ import annotations

from prefect import flow

from tasks.ingest import task
from tasks.steps import call_for_editing


@flow(name="ingest", description=__doc__)
def ingest(home: str, paths: tuple[str, ...] = ()) -> dict[str, int]:
    """Take in what waits; how many lines, accepted and quarantined."""
    taken = task.ingest(home, list(paths)) if paths else task.inbox(home)
    call_for_editing(home)
    return taken
