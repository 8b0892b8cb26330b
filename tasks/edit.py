"""The step: a leased job becomes a candidate version on disk.

    head of the line ──► removals taken out ──► blocks trained ──► HOME/versions/<id>
                                                                   HOME/work/<job>.json

The file in `work/` says what came of each edit. It is written last: a worker that dies before
does the job again, one that dies after is taken up behind it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from config import Settings
from ledger import Job, Ledger
from melo_engine import MeloError, Version
from melo_engine.errors import VersionError
from tasks import progress
from tasks.errors import TaskError
from tasks.requests import NEAR, request_of
from tasks.shards import cut, forget_shards, merged
from tasks.versions import (
    BASE,
    forget_open_versions,
    head,
    open_editor,
    open_version,
    save_version,
)


@dataclass(frozen=True)
class Trained:
    """What came of a job: the candidate, and the version it was built upon (`base` for none).

    failed: edit and reason, of edits that could not be trained. beaten: edit and the later one that
    answers the same question differently. removed: edits of the base that the candidate lacks.
    """

    job: str
    base: str
    candidate: str
    failed: dict[str, str] = field(default_factory=dict)
    beaten: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def edit_job(settings: Settings, ledger: Ledger, job: Job) -> Trained:
    """Train a job's edits upon the head of the line, or find what an earlier attempt left.

    Raises MeloError where the backbone or the base version can't be opened.
    """
    base = head(ledger) or BASE
    known = trained(settings, job.id)
    if known is not None and known.base == base:
        return known
    plan = cut(settings, ledger, job)
    before = open_version(settings, base)
    version = merged(settings, ledger, plan) if plan else _at_once(settings, ledger, job, base)
    save_version(settings, version)
    outcomes = {o.id: o for o in version.outcomes}
    result = Trained(
        job.id,
        base,
        version.id,
        failed={o.id: o.reason for o in outcomes.values() if o.status == "failed"},
        beaten=_settled(
            _declared(job, before)
            | {o.id: _winner(o.reason) for o in outcomes.values() if o.status == "superseded"}
        ),
        removed=tuple(edit for edit in before.edits if edit not in version),
        seconds={o.id: round(o.seconds, 4) for o in outcomes.values()},
    )
    _write(settings, result)
    return result


def base_opens(settings: Settings, ledger: Ledger) -> bool:
    """Whether the head of the line can be read from disk: where not, no job can be trained."""
    forget_open_versions()
    try:
        open_version(settings, head(ledger) or BASE)
    except (MeloError, TaskError, OSError):
        return False
    return True


def _at_once(settings: Settings, ledger: Ledger, job: Job, base: str) -> Version:
    """A job that is one shard: everything in one call of the editor."""
    editor = open_editor(settings, base)
    removals = [edit for edit in job.removals if edit in editor.version]
    if removals:
        editor.revoke(removals)
    requests = [request_of(edit) for edit in job.edits]
    if requests:
        replaced = [old for edit in job.edits for old in edit.supersedes if old in editor.version]
        near = [request_of(edit) for edit in ledger.edits(state="ready", limit=NEAR)]
        editor.edit(requests, replaces=replaced, near=near, progress=progress.report)
    return editor.version


def trained(settings: Settings, job: str) -> Trained | None:
    """What an earlier attempt at a job left, where it is whole."""
    try:
        values = json.loads(_place(settings, job).read_text(encoding="utf-8"))
        result = Trained(**{**values, "removed": tuple(values["removed"])})
        open_version(settings, result.candidate)
    except (OSError, ValueError, TypeError, KeyError, VersionError):
        return None
    return result


def forget(settings: Settings, job: str) -> None:
    """Drop what an attempt left, once its job has ended."""
    _place(settings, job).unlink(missing_ok=True)
    forget_shards(settings, job)


def restored(result: Trained, gone: set[str], base: Version, version: Version) -> Version:
    """Put edits of the base back whose successors did not make it into the version."""
    back = [
        base.edits[old] for old, new in result.beaten.items() if new in gone and old in base.edits
    ]
    return version.with_edits(back, [base.shards[e.shard] for e in back]) if back else version


def _declared(job: Job, before: Version) -> dict[str, str]:
    """Edits in force that the ledger has decided against: {loser: winner}."""
    return {old: edit.id for edit in job.edits for old in edit.supersedes if old in before}


def _settled(beaten: dict[str, str]) -> dict[str, str]:
    """Each loser with the edit that stands in the end: one that beat it may have lost itself."""
    found = {}
    for loser, winner in beaten.items():
        seen = {loser}
        while winner in beaten and winner not in seen:
            seen.add(winner)
            winner = beaten[winner]
        found[loser] = winner
    return found


def _winner(reason: str) -> str:
    """The engine names the later edit in its reason."""
    found = re.search(r"\bedit (\S+)", reason)
    return found.group(1) if found else ""


def _place(settings: Settings, job: str) -> Path:
    return settings.home / "work" / f"{job}.json"


def _write(settings: Settings, result: Trained) -> None:
    path = _place(settings, result.job)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(asdict(result)), encoding="utf-8")
    os.replace(fresh, path)
