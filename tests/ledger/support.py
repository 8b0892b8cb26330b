"""Rows into a real ledger, without files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from ledger import ChunkResult, EditRecord, IntakeRules, JobOutcome, Ledger

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def later(**step: float) -> datetime:
    """A moment after NOON."""
    return NOON + timedelta(**step)


def report(prompt: str, target: str | None = "yes", **more: object) -> dict[str, object]:
    """An error report."""
    return {"prompt": prompt, "target": target, **more}


def take(
    ledger: Ledger,
    rows: Iterable[dict[str, object] | str],
    *,
    rules: IntakeRules | None = None,
    source: str | None = None,
    now: datetime = NOON,
) -> ChunkResult:
    """Take rows in as one input of its own."""
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    record = ledger.intake.begin_file("rows", uuid.uuid4().hex, source=source)
    table = pa.table(
        {
            "line": pa.array(range(1, len(texts) + 1), pa.int64()),
            "raw": pa.array(texts, pa.string()),
            "unreadable": pa.nulls(len(texts), pa.string()),
        }
    )
    _, result = ledger.intake.commit_chunk(
        record, table, next_offset=0, done=True, rules=rules or IntakeRules(), now=now
    )
    return result


def by_target(ledger: Ledger) -> dict[str | None, EditRecord]:
    """Edits by their answer, where a test gives each its own."""
    return {edit.target: edit for edit in ledger.edits.find()}


def state_of(ledger: Ledger, target: str) -> str:
    """The state of the edit with this answer."""
    return by_target(ledger)[target].state


def run_job(ledger: Ledger, version: str, *, now: datetime = NOON) -> list[str]:
    """Lease the next job, train all of it, and activate it with a version; its edits' ids."""
    job = ledger.jobs.lease("worker", now=now)
    assert job is not None
    ids = [edit.id for edit in job.edits]
    ledger.versions.record(
        version,
        parent=None,
        job_id=job.id,
        edits_added=ids,
        edits_removed=[*job.removals, *(s for edit in job.edits for s in edit.supersedes)],
    )
    ledger.jobs.finish(job, JobOutcome(version, trained=ids), now=now)
    ledger.edits.activate(ids, version, now=now)
    return ids
