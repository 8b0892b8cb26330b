"""A job cut into shards that are trained apart, by any worker, and put together again.

    job ──cut──► HOME/work/<job>.plan.json ──► shard 0 ─► HOME/work/<job>.0-<digest>.json ──┐
                                          ├──► shard 1 ─► HOME/work/<job>.1-<digest>.json ──┼─► merged
                                          └──► ...                                          ┘

What a shard holds depends on the job and `workers.shard_edits` alone, and so does what is trained
in one batch: any number of workers makes the same version, to the bit. A shard that nobody brought
is trained by whoever merges.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artifacts.atomic import write_atomically
from config import Settings
from ledger import Job, Ledger
from melo_engine import Conflict, Editor, EditOutcome, EditResult
from melo_engine.errors import VersionError
from melo_engine.merge import merge_parts
from tasks import progress
from tasks.requests import request_of
from tasks.versions import BASE, head, open_editor, open_version, save_version


@dataclass(frozen=True)
class Plan:
    """How a job is cut. shards: ids of edits."""

    job: str
    base: str
    removals: tuple[str, ...]
    shards: tuple[tuple[str, ...], ...]

    def digest(self, number: int) -> str:
        """Of everything that decides what training a shard gives, but for the settings."""
        content = [self.base, self.removals, self.shards[number]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def cut(settings: Settings, ledger: Ledger, job: Job) -> Plan | None:
    """Cut a job, or find how it was cut; None where it is small enough to be trained at once."""
    size = settings.workers.shard_edits
    if len(job.edits) <= size:
        return None
    base = head(ledger) or BASE
    ids = [edit.id for edit in job.edits]
    shards = tuple(tuple(ids[at : at + size]) for at in range(0, len(ids), size))
    known = read_plan(settings, job.id)
    if known is not None and (known.base, known.shards) == (base, shards):
        return known
    editor = open_editor(settings, base)
    removals = tuple(edit for edit in job.removals if edit in editor.version)
    plan = Plan(job.id, base, removals, shards)
    _write(_plan_file(settings, job.id), asdict(plan))
    return plan


def read_plan(settings: Settings, job: str) -> Plan | None:
    """How a job was cut; None where it was not."""
    try:
        told = json.loads(_plan_file(settings, job).read_text(encoding="utf-8"))
        told["shards"] = tuple(tuple(shard) for shard in told["shards"])
        return Plan(**{**told, "removals": tuple(told["removals"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def train_shard(settings: Settings, ledger: Ledger, plan: Plan, number: int) -> EditResult:
    """Train one shard upon the plan's base, or find what was trained; it is kept in any case.

    Raises MeloError where the backbone or the base version can't be opened.
    """
    known = trained_shard(settings, plan, number)
    if known is not None:
        return known
    editor = _editor(settings, plan)
    edits = ledger.edits.find(ids=plan.shards[number])
    order = {edit: place for place, edit in enumerate(plan.shards[number])}
    edits.sort(key=lambda edit: order[edit.id])
    made = editor.edit(
        [request_of(edit) for edit in edits],
        replaces=[old for edit in edits for old in edit.supersedes if old in editor.version],
        progress=progress.report,
    )
    save_version(settings, made.version)
    told = {
        "version": made.version.id,
        "outcomes": [asdict(outcome) for outcome in made.outcomes],
        "conflicts": [asdict(conflict) for conflict in made.conflicts],
    }
    _write(_shard_file(settings, plan, number), told)
    return made


def trained_shard(settings: Settings, plan: Plan, number: int) -> EditResult | None:
    """What a worker brought; None where it is not there or not whole."""
    try:
        told = json.loads(_shard_file(settings, plan, number).read_text(encoding="utf-8"))
        return EditResult(
            open_version(settings, told["version"]),
            tuple(EditOutcome(**row) for row in told["outcomes"]),
            tuple(Conflict(**row) for row in told["conflicts"]),
        )
    except (OSError, ValueError, TypeError, KeyError, VersionError):
        return None


def all_there(settings: Settings, job: str) -> bool:
    """Whether every shard of a job has been brought."""
    plan = read_plan(settings, job)
    return plan is not None and all(
        _shard_file(settings, plan, number).exists() for number in range(len(plan.shards))
    )


def merged(settings: Settings, ledger: Ledger, plan: Plan) -> EditResult:
    """All shards in one version; those that nobody brought are trained here."""
    parts = [train_shard(settings, ledger, plan, n) for n in range(len(plan.shards))]
    base = _editor(settings, plan).version
    return merge_parts(base, parts)


def forget_shards(settings: Settings, job: str) -> None:
    """Drop what was left for a job that has ended."""
    for file in settings.paths.work.glob(f"{job}.*.json"):
        file.unlink(missing_ok=True)


def _editor(settings: Settings, plan: Plan) -> Editor:
    """An editor on the plan's base, without what is to be taken out."""
    editor = open_editor(settings, plan.base)
    if plan.removals:
        editor.revoke(plan.removals)
    return editor


def _plan_file(settings: Settings, job: str) -> Path:
    return settings.paths.work / f"{job}.plan.json"


def _shard_file(settings: Settings, plan: Plan, number: int) -> Path:
    return settings.paths.work / f"{plan.job}.{number}-{plan.digest(number)}.json"


def _write(path: Path, told: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(told))
