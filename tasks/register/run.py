"""What a job's run in MLflow says, from the ledger's records: parameters, metrics, edits, tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from artifacts.tags import (
    ADDED_COUNT_TAG,
    ADDED_TAG,
    HASH_TAG,
    JOB_TAG,
    PARENT_TAG,
    REASON_TAG,
    REMOVED_COUNT_TAG,
    REMOVED_TAG,
    VERDICT_TAG,
)
from config import Settings
from execution.context import Context
from ledger import EditRecord, SuiteVerdict, VersionRecord
from melo_engine import Backbone
from registry.runs import RunContent

TIMINGS = ("train_seconds", "gate_seconds")
NUMBERS = ("edits", *TIMINGS, "regenerated", "cached")
LONGEST_TAG = 4000  # characters; MLflow takes 5000


def content_of(context: Context, backbone: Backbone, record: VersionRecord) -> RunContent:
    """What is on record about a version."""
    suites = context.ledger.versions.suite_verdicts(record.id)
    added = context.ledger.edits.find(ids=record.edits_added) if record.edits_added else []
    return RunContent(
        parameters(context.settings, backbone, record.parent, record.info.get("device")),
        rows_of(added),
        context.paths.report(record.id),
        _metrics(record, suites),
        record.edits_removed,
        [asdict(suite) for suite in suites],
    )


def rows_of(edits: Sequence[EditRecord]) -> list[dict[str, str]]:
    """Edits as rows of a table."""
    return [
        {
            "id": e.id,
            "prompt": e.prompt,
            "target": e.target or "",
            "subject": e.subject or "",
            "source": e.source,
        }
        for e in edits
    ]


def parameters(
    settings: Settings, backbone: Backbone, parent: str | None, device: object = None
) -> dict[str, Any]:
    """What a job was run with."""
    return {
        **{f"edit.{k}": v for k, v in settings.edit.model_dump().items()},
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash[:32],
        "device": device or str(backbone.device),
        "parent": parent or "base",
    }


def page(settings: Settings, record: VersionRecord) -> str:
    """Where the dashboards show a version."""
    return f"{settings.dashboard_url}/version?version={record.id}"


def tags(record: VersionRecord) -> dict[str, str]:
    """What a version says about itself."""
    return {
        HASH_TAG: record.id,
        VERDICT_TAG: record.verdict or "none",
        REASON_TAG: _cut(record.reason or ""),
        PARENT_TAG: record.parent or "base",
        JOB_TAG: record.job_id or "none",
        ADDED_COUNT_TAG: str(len(record.edits_added)),
        REMOVED_COUNT_TAG: str(len(record.edits_removed)),
        ADDED_TAG: _cut(" ".join(record.edits_added)),
        REMOVED_TAG: _cut(" ".join(record.edits_removed)),
    }


def _metrics(record: VersionRecord, suites: Sequence[SuiteVerdict]) -> dict[str, float]:
    metrics = {
        f"{s.suite}.{s.metric}".replace(" ", "_"): float(s.value)
        for s in suites
        if s.value is not None
    }
    for name in NUMBERS:
        value = record.info.get(name)
        if isinstance(value, int | float):
            metrics[name] = float(value)
    return metrics


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"
