"""The Prefect task around planning."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from config import load
from ledger import Ledger
from tasks.plan import plan


@task(name="plan", retries=2, retry_delay_seconds=5)  # type: ignore[untyped-decorator]
def plan_jobs(home: str) -> list[str]:
    """Plan what is ready; returns the ids of the new jobs."""
    settings = load(Path(home))
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        return [job.id for job in plan(ledger, settings)]
