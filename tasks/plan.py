"""The step: what has come due, then ready edits into jobs."""

from __future__ import annotations

from config import Settings
from ledger import Job, Ledger
from tasks.ingest import rules_from


def plan(ledger: Ledger, settings: Settings) -> list[Job]:
    """Retire what is no longer valid, let in what now is, and plan what is ready.

    The jobs returned are open for workers.
    """
    ledger.review.come_due(rules_from(settings))
    jobs = ledger.jobs.plan(
        max_edits=settings.plan.max_edits_per_job, max_jobs=settings.plan.max_jobs
    )
    ledger.store.publish()
    return jobs
