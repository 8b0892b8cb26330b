"""A job cut into shards that are trained apart, by any worker, and put together again.

What a shard holds depends on the job and `workers.shard_edits` alone, and so does what is trained
in one batch: any number of workers makes the same version, to the bit. A shard that nobody brought
is trained by whoever merges.
"""

from __future__ import annotations

from dataclasses import asdict

from execution import progress, work_folder
from execution.context import Context
from execution.lineage import BASE, head
from execution.spreading import Plan, read_plan
from ledger import Job
from melo_engine import Conflict, Editor, EditOutcome, EditResult
from melo_engine.errors import VersionError
from melo_engine.merge import merge_parts
from tasks.edit.requests import request_of


def cut(context: Context, job: Job) -> Plan | None:
    """Cut a job, or find how it was cut; None where it is small enough to be trained at once."""
    size = context.settings.workers.shard_edits
    if len(job.edits) <= size:
        return None
    base = head(context.ledger) or BASE
    ids = [edit.id for edit in job.edits]
    shards = tuple(tuple(ids[at : at + size]) for at in range(0, len(ids), size))
    earlier = read_plan(context.settings, job.id)
    if earlier is not None and (earlier.base, earlier.shards) == (base, shards):
        return earlier
    editor = context.versions.editor(base)
    removals = tuple(edit for edit in job.removals if edit in editor.version)
    plan = Plan(job.id, base, removals, shards)
    plan.write(context.settings)
    return plan


def train_shard(context: Context, plan: Plan, number: int) -> EditResult:
    """Train one shard upon the plan's base, or find what was trained; it is kept in any case.

    Raises MeloError where the backbone or the base version can't be opened.
    """
    earlier = trained_shard(context, plan, number)
    if earlier is not None:
        return earlier
    editor = _editor(context, plan)
    edits = context.ledger.edits.find(ids=plan.shards[number])
    order = {edit: place for place, edit in enumerate(plan.shards[number])}
    edits.sort(key=lambda edit: order[edit.id])
    edited = editor.edit(
        [request_of(edit) for edit in edits],
        replaces=[old for edit in edits for old in edit.supersedes if old in editor.version],
        progress=progress.report,
    )
    context.versions.save(edited.version)
    content = {
        "version": edited.version.id,
        "outcomes": [asdict(outcome) for outcome in edited.outcomes],
        "conflicts": [asdict(conflict) for conflict in edited.conflicts],
    }
    work_folder.write(plan.shard_file(context.settings, number), content)
    return edited


def trained_shard(context: Context, plan: Plan, number: int) -> EditResult | None:
    """What a worker brought; None where it is not there or not whole."""
    try:
        content = work_folder.read(plan.shard_file(context.settings, number))
        return EditResult(
            context.versions.open(content["version"]),
            tuple(EditOutcome(**row) for row in content["outcomes"]),
            tuple(Conflict(**row) for row in content["conflicts"]),
        )
    except (OSError, ValueError, TypeError, KeyError, VersionError):
        return None


def merged(context: Context, plan: Plan) -> EditResult:
    """All shards in one version; those that nobody brought are trained here."""
    parts = [train_shard(context, plan, n) for n in range(len(plan.shards))]
    base = _editor(context, plan).version
    return merge_parts(base, parts)


def _editor(context: Context, plan: Plan) -> Editor:
    """An editor on the plan's base, without what is to be taken out."""
    editor = context.versions.editor(plan.base)
    if plan.removals:
        editor.revoke(plan.removals)
    return editor
