"""The Prefect tasks around ingestion: names, retries, ids and paths in and out."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from config import load
from ledger import Ledger
from tasks.ingest.inbox import ingest_inbox
from tasks.ingest.step import ingest_paths
from tasks.retries import PATIENT


@task(name="ingest", **PATIENT)  # type: ignore[untyped-decorator]
def ingest(home: str, paths: list[str], source: str | None = None) -> dict[str, int]:
    """Take files in; a retry goes on where the last try stopped."""
    settings = load(Path(home))
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        outcome = ingest_paths(ledger, paths, settings, source=source)
    return {name: outcome.total(name) for name in ("lines", "accepted", "quarantined")}


@task(name="ingest-inbox", **PATIENT)  # type: ignore[untyped-decorator]
def inbox(home: str) -> dict[str, int]:
    """Take in what waits in the home's inbox."""
    settings = load(Path(home))
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        outcome = ingest_inbox(ledger, settings)
    return {name: outcome.total(name) for name in ("lines", "accepted", "quarantined")}
