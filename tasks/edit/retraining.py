"""The second try: an edit that failed the gate by its own answers is trained once more, with more of all.

Training ends as soon as a block decodes to its target, which may be only just enough for the gate. So
the second try starts at twice the rank with twice the steps, in more contexts, and with the wordings
that failed. An edit that fails again is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from execution import progress
from execution.context import Context
from ledger import Job
from melo_engine import Editor, EditRequest, EditSettings, Version
from melo_engine.keys import KeyReader
from tasks.edit.requests import request_of
from tasks.gate import Rejection


def worth_another_try(rejected: Sequence[Rejection], job: Job | None, tried: set[str]) -> list[str]:
    """Edits of the job that the gate took out for what their own block answers, and not before."""
    job_edits = {edit.id for edit in job.edits} if job else set()
    return [r.edit for r in rejected if r.retry and r.edit in job_edits and r.edit not in tried]


def trained_again(
    context: Context,
    job: Job,
    edits: Mapping[str, Sequence[str]],
    failed: Version,
    rest: Version,
) -> tuple[Version, dict[str, str]]:
    """Train edits of a job once more upon `rest`, what is left of the version that failed.

    edits: by id, wordings that failed, which are trained on and become keys. failed: the version that
    holds their first blocks. Returns the version with those that could be trained, and why the others
    could not.
    """
    versions = context.versions
    more = _more(versions.edit_settings, [failed[edit].rank for edit in edits])
    editor = Editor(
        versions.backbone,
        rest,
        reader=KeyReader(versions.encoder, rest.projection),
        settings=more,
        calibration=rest.calibration,
    )
    requests = [
        with_wordings(request_of(edit), edits[edit.id]) for edit in job.edits if edit.id in edits
    ]
    edited = editor.edit(requests, progress=progress.report)
    return edited.version, {
        o.id: f"trained again from rank {more.rank} with {more.max_steps} steps: {o.reason}"
        for o in edited.outcomes
        if o.id in edits and o.status != "trained"
    }


def with_wordings(request: EditRequest, wordings: Sequence[str]) -> EditRequest:
    """The request with more wordings of its question."""
    more = [w for w in wordings if w != request.question and w not in request.rephrases]
    return replace(request, rephrases=(*request.rephrases, *more))


def _more(settings: EditSettings, ranks: Sequence[int]) -> EditSettings:
    rank = 2 * max([settings.rank, *ranks])
    return replace(
        settings,
        rank=rank,
        max_rank=max(rank, settings.max_rank),
        max_steps=2 * settings.max_steps,
        contexts=4,
    )
