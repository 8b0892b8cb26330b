"""From what waits in the ledger to versions that serve, until nothing is left.

mend ──► next job ──► train ──► gate ──► register ──► promote ──┐
             ▲                                                  │
             └──────────────────────────────────────────────────┘
... and at the end the sources of the reports are told, where that is set.
"""

from __future__ import annotations

import contextlib

from prefect import flow

from execution.context import opened
from execution.failures import working_on
from flows.spread import spread
from tasks.judge import Verdict
from tasks.steps import (
    gate,
    mend,
    next_job,
    promote_version,
    register_version,
    show,
    tell_sources,
    train,
)


@flow(name="edit", description=__doc__)
def edit(home: str) -> list[Verdict]:
    """Run every job that waits, each once; what the gate said about each."""
    with opened(home) as context:
        mend(context)
        verdicts = []
        taken: list[str] = []
        while job := next_job(context, taken):
            taken.append(job.id)
            with working_on(context, job):
                spread(context, job)
                train(context, job)
                verdict = gate(context, job)
                verdicts.append(verdict)
                with contextlib.suppress(Exception):  # a page that can't be drawn holds up nothing
                    show(context, verdict)
                if verdict.version:
                    register_version(context, verdict.version)
                if verdict.version and verdict.passed:
                    promote_version(context, verdict.version)
        with contextlib.suppress(Exception):  # who is told later is told by the next run
            tell_sources(context)
        return verdicts
