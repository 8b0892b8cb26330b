"""The step at the start of every run: finish or undo what a dead process left half done.

folder half written        never visible: written beside its place and moved there; put back
                           where its writer died between moving the old one and the new one
lease of a dead worker     given back at once where that worker ran on this machine
verdict without promotion  registered and promoted, or its edits made ready again, as where its files
                           are lost or damaged
removal that did not serve planned anew, once its job's version can't be promoted any more
alias elsewhere            aliases set to what the ledger says
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from artifacts.atomic import process_runs, remove_abandoned
from execution.context import Context
from execution.leases import JobRef, hand_back
from execution.lineage import BASE, descends, stands
from execution.retries import FailureKind
from ledger import Ledger
from ledger import VersionRecord as Recorded
from melo_engine.errors import VersionError
from tasks.register import register
from tasks.register.promote import advance, follow, overtaken


@dataclass(frozen=True)
class Mended:
    """What was found and put right."""

    jobs: int = 0
    registered: int = 0
    promoted: int = 0
    overtaken: int = 0
    removals: int = 0
    swept: int = 0


def reconcile(context: Context) -> Mended:
    """Bring ledger, versions on disk and registry in line with each other. Safe at any time."""
    # What writers that died left beside its place; that of living processes stays.
    swept = remove_abandoned(context.paths.versions) + remove_abandoned(context.paths.shards)
    jobs = _free_leases(context)
    registered = promoted = late = 0
    champion = context.ledger.champions.current()
    waiting = []
    for version in _unfinished(context.ledger):
        if _lost(context, version.id, champion.version if champion else None):
            _give_up(context, version)
            late += 1
            continue
        if version.registry_version is None:
            register(context, version.id)
            registered += 1
        if context.settings.registry.promotion == "auto":
            done = advance(context, version.id, actor="reconcile")
            promoted, late = promoted + bool(done), late + (done is None)
            serves = "it serves now" if done else "another overtook it: its edits are planned anew"
            _record_event(context.ledger, version, f"had passed its gate; {serves}")
        elif not _can_serve(context.ledger, version.id, champion.version if champion else None):
            overtaken(context.ledger, version.id, actor="reconcile")
            late += 1
            _record_event(context.ledger, version, "can serve no more: its edits are planned anew")
        else:
            waiting.append(version.id)
    removals = context.ledger.removals.plan_anew(waiting=waiting)
    champion = context.ledger.champions.current()
    if follow(context) and champion is not None and not promoted:
        _record_event(
            context.ledger,
            context.ledger.versions.get(champion.version),
            "serves, and the registry says so now",
        )
    return Mended(jobs, registered, promoted, late, removals, swept)


def _lost(context: Context, version: str, champion: str | None) -> bool:
    """Whether the files of a version are gone or damaged, while those of the champion are well.

    Where both are, a disk may be away, and nothing is given up.
    """
    return not _opens(context, version) and _opens(context, champion or BASE)


def _opens(context: Context, version: str) -> bool:
    try:
        context.versions.edits_of(version)
    except VersionError:
        return False
    return True


def _give_up(context: Context, version: Recorded) -> None:
    """Let nothing be built upon a version whose files are lost; its edits are planned anew."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with context.ledger.store.write():
        context.ledger.versions.note(version.id, {"deleted": now})
        overtaken(context.ledger, version.id, actor="reconcile")
        what = "had passed its gate, and its files are lost or damaged: its edits are planned anew"
        _record_event(context.ledger, version, what)


def _record_event(ledger: Ledger, version: Recorded, what: str) -> None:
    """On record, and for `melo run` to say: what another run began and this one finished."""
    ledger.events.record("taken-up", f"version {version.id[:12]} {what}", version=version.id)


def _unfinished(ledger: Ledger) -> list[Recorded]:
    """Passed versions whose edits are trained, or taken out, and that never served, oldest first."""
    waiting = {edit.version for edit in ledger.edits.find(state="trained")}
    waiting |= set(ledger.removals.versions())
    return [
        v
        for v in ledger.versions.all()
        if v.verdict == "passed" and v.id in waiting and not v.info.get("deleted")
    ]


def _can_serve(ledger: Ledger, version: str, champion: str | None) -> bool:
    """Whether a version was built upon the champion and nothing on the way to it was withdrawn."""
    versions = {v.id: v for v in ledger.versions.all()}
    ancestor: str | None = version
    while ancestor is not None and ancestor != champion and ancestor in versions:
        if not stands(ledger, versions[ancestor]):
            return False
        ancestor = versions[ancestor].parent
    return descends(ledger, version, champion)


def _free_leases(context: Context) -> int:
    """Jobs of workers on this machine whose process is gone; others wait for their lease to end."""
    freed = 0
    for job in context.ledger.jobs.find(state="leased"):
        host, _, pid = (job.worker or "").rpartition(":")
        if host == socket.gethostname() and pid.isdigit() and not process_runs(int(pid)):
            ref = JobRef(job.id, job.attempt, job.worker or "")
            hand_back(context, ref, "its worker died", FailureKind.DOUBTFUL)
            freed += 1
    return freed
