"""The step: a leased job becomes a candidate version on disk.

    head of the line ──► removals taken out ──► blocks trained ──► HOME/versions/<id>
                                                                   HOME/work/<job>.json

The file in `work/` says what came of each edit. It is written last: where a worker died
before that, the job is done again; where one died after it, the next step follows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from execution import leases, progress
from execution.context import Context
from execution.leases import JobRef
from execution.lineage import BASE, head
from execution.work_folder import read, result_file, write
from ledger import Job
from melo_engine import EditResult, Version
from melo_engine.errors import VersionError
from tasks.edit.requests import request_of
from tasks.edit.shards import cut, merged


@dataclass(frozen=True)
class TrainedJob:
    """What came of a job: the candidate, and the version it was built upon (`base` for none).

    failed: {edit: reason}, edits that could not be trained. beaten: {edit in force: the edit that the
    ledger puts in its place}. held: {edit: reason}, edits whose question another one, in force or in the
    job, answers differently, where no rule decides; rivals: {held edit: that other one}. removed: edits
    of the base that the candidate lacks.
    """

    job: str
    base: str
    candidate: str
    failed: dict[str, str] = field(default_factory=dict)
    beaten: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    rivals: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def edit_job(context: Context, ref: JobRef) -> TrainedJob:
    """Train the edits of a leased job upon the head of the line, or find what an earlier attempt left.

    Raises MeloError where the backbone or the base version can't be opened.
    """
    base = head(context.ledger) or BASE
    earlier = trained(context, ref.id)
    if earlier is not None and earlier.base == base:
        return earlier
    job = leases.held(context.ledger, ref)
    plan = cut(context, job)
    before = context.versions.open(base)
    edited = merged(context, plan) if plan else _at_once(context, job, base)
    by_keys = context.settings.contradictions.same_subject != "never"
    right = context.ledger.conflicts.both_right() if by_keys else set()
    held, rivals = _undecided(edited, right) if by_keys else ({}, {})
    version = edited.version.without(sorted(held)) if held else edited.version
    context.versions.save(version)
    result = TrainedJob(
        job.id,
        base,
        version.id,
        failed={o.id: o.reason for o in edited.outcomes if o.status == "failed"},
        beaten={old: edit.id for edit in job.edits for old in edit.supersedes if old in before},
        held=held,
        rivals=rivals,
        removed=tuple(edit for edit in before.edits if edit not in version),
        seconds={o.id: round(o.seconds, 4) for o in edited.outcomes},
    )
    on_record = {edit.id for edit in job.edits if edit.subject_source == "inferred"}
    inferred = {
        edit.id: str(edit.request.subject)
        for edit in version.edits.values()
        if edit.request.subject_source == "inferred"
        and edit.id not in before
        and edit.id not in on_record
    }
    context.ledger.edits.note_subjects(inferred, origin="inferred", actor="edit")
    write(result_file(context.settings, job.id), asdict(result))
    return result


def _at_once(context: Context, job: Job, base: str) -> EditResult:
    """A job that is one shard: everything in one call of the editor."""
    editor = context.versions.editor(base)
    removals = [edit for edit in job.removals if edit in editor.version]
    if removals:
        editor.revoke(removals)
    requests = [request_of(edit) for edit in job.edits]
    if not requests:
        return EditResult(editor.version, ())
    replaced = [old for edit in job.edits for old in edit.supersedes if old in editor.version]
    return editor.edit(requests, replaces=replaced, progress=progress.report)


def _undecided(
    edited: EditResult, both_right: set[frozenset[str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """New edits that a person has to decide on: {edit: reason} and {edit: the other one}.

    Two that name the same subject and ask the same by their keys can't both be right, unless only a
    shared wording makes one question (`contradictions.same_subject = "never"`), or a person said so.
    Where the ledger had a rule, the other one is out of force already.
    """
    held: dict[str, str] = {}
    rivals: dict[str, str] = {}
    for conflict in edited.conflicts:
        pair = frozenset((conflict.new, conflict.other))
        if conflict.same_subject and conflict.other not in held and pair not in both_right:
            other = edited.version[conflict.other].request
            held[conflict.new] = (
                f'edit {conflict.other} answers this question otherwise: "{other.question[:80]}" with '
                f'"{other.target[:80]}", and no rule decides between them; where both are right, say '
                f"`melo review both {conflict.new[:12]} {conflict.other[:12]}`"
            )
            rivals[conflict.new] = conflict.other
    return held, rivals


def trained(context: Context, job: str) -> TrainedJob | None:
    """What an earlier attempt at a job left, where it is whole."""
    try:
        values = read(result_file(context.settings, job))
        result = TrainedJob(**{**values, "removed": tuple(values["removed"])})
        context.versions.open(result.candidate)
    except (OSError, ValueError, TypeError, KeyError, VersionError):
        return None
    return result


def restored(result: TrainedJob, dropped: set[str], base: Version, version: Version) -> Version:
    """Put edits of the base back whose successors did not make it into the version."""
    back = [
        base.edits[old]
        for old, new in result.beaten.items()
        if new in dropped and old in base.edits
    ]
    return version.with_edits(back, [base.shards[e.shard] for e in back]) if back else version
