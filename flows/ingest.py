"""Reports and facts into the ledger: given paths, or what lies in the inbox."""

from __future__ import annotations

from prefect import flow

from execution.context import opened
from tasks.steps import call_for_editing, take_in, take_in_inbox


@flow(name="ingest", description=__doc__)
def ingest(home: str, paths: tuple[str, ...] = ()) -> dict[str, int]:
    """Take in what waits; how many lines, accepted and quarantined."""
    with opened(home) as context:
        taken = take_in(context, list(paths)) if paths else take_in_inbox(context)
        call_for_editing(context)
    return taken
