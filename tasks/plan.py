"""The step: ready edits into jobs; what has run out or has come due, first."""

from __future__ import annotations

from config import Settings
from ledger import Job, Ledger


def plan(ledger: Ledger, settings: Settings) -> list[Job]:
    """Plan what is ready. The jobs are open for workers then."""
    jobs = ledger.plan_jobs(max_edits=settings.plan.max_edits_per_job)
    ledger.publish()
    return jobs
