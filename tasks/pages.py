"""What a run's page in Prefect shows: verdict table, edits taken and refused, the MLflow version."""

from __future__ import annotations

import os
from dataclasses import asdict

from prefect.artifacts import create_link_artifact, create_table_artifact

from execution.context import Context
from tasks.judge import Verdict

SHOWN = 100  # edits of a job on its page
PAGE = "MELO_MLFLOW_PAGE"  # where MLflow is to be looked at; `melo up` sets it


def show_verdict(context: Context, verdict: Verdict) -> None:
    """The verdict table, and what became of each edit."""
    job = context.ledger.jobs.get(verdict.job or "")
    name = (verdict.version or "none")[:12]
    create_table_artifact(
        key=f"edits-{job.id}",
        table=[
            {
                "edit": e.id[:12],
                "prompt": e.prompt[:80],
                "target": e.target,
                "became": e.state,
                "why": context.ledger.edits.history(e.id)[-1].reason[:200],
            }
            for e in job.edits[:SHOWN]
        ],
        description=f"Edits of job {job.id}: {verdict.added} in version {name}",
    )
    if verdict.version is not None:
        create_table_artifact(
            key=f"verdict-{name}",
            table=[asdict(s) for s in context.ledger.versions.suite_verdicts(verdict.version)],
            description=f"Version {name} {'passed' if verdict.passed else 'failed'} its gate: "
            f"{verdict.reason}. [Look at it]({context.settings.dashboard_url}/version?version={name})",
        )


def link_version(context: Context, version: str, number: str | None) -> str | None:
    """A link to the version in MLflow, where its pages are known; the link."""
    page = os.environ.get(PAGE) or context.settings.registry.tracking_uri or ""
    if number is None or not page.startswith("http"):
        return None
    name = context.registry.name_for(context.versions.backbone)
    link = f"{page.rstrip('/')}/#/models/{name}/versions/{number}"
    create_link_artifact(
        key=f"mlflow-{version[:12]}",
        link=link,
        link_text=f"{name}, version {number}",
        description=f"Version {version[:12]} in MLflow",
    )
    return link
