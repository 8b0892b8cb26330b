"""The step: what has come due, then ready edits into jobs."""

from __future__ import annotations

from execution.context import Context
from ledger import Job
from tasks.ingest import rules_from


def plan(context: Context) -> list[Job]:
    """Retire what is no longer valid, let in what now is, and plan what is ready.

    The jobs returned are open for workers.
    """
    context.ledger.review.come_due(rules_from(context.settings))
    jobs = context.ledger.jobs.plan(
        max_edits=context.settings.plan.max_edits_per_job, max_jobs=context.settings.plan.max_jobs
    )
    context.ledger.store.publish()
    return jobs
