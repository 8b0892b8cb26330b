"""The step: a candidate goes through the gate; what it said is put on record with the job's end.

Version, probes, verdict and the states of the job's edits are one transaction of the ledger: a
crash before it leaves the job to be done again, a crash after it a version to be registered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from execution.context import Context
from execution.errors import GateBlocked
from execution.leases import JobRef, held
from execution.lineage import BASE
from execution.work_folder import forget
from ledger import Job, JobOutcome, Ledger, SuiteVerdict
from ledger import ProbeRecord as Probed
from melo_engine import Editor, Version
from tasks.edit import TrainedJob, restored
from tasks.edit.retraining import trained_again, worth_another_try
from tasks.gate import (
    AnswerCache,
    Check,
    GateOptions,
    GateResult,
    Rejection,
    Repair,
    Thresholds,
    gate_candidate,
    suites_from,
    write_report,
)
from tasks.gate.types import text_of
from tasks.gate.verdict.thresholds import RepairRules

FROZEN = ("backbone", "cache")  # what a gate looks at that no edit changes
ROUNDS = 5  # of taking edits out or putting old ones back
NOTHING = "nothing of the job could be kept"


@dataclass(frozen=True)
class Verdict:
    """What became of a job: version is None where nothing of it could be kept."""

    job: str | None
    version: str | None
    passed: bool
    reason: str
    added: int = 0
    removed: int = 0
    rejected: int = 0
    candidate: str | None = None  # what went through the gate, where that is still known


@dataclass(frozen=True)
class VersionDiff:
    """How a version differs from the one that it was built upon.

    superseded: edits of the parent and what took their place. removals: edits that were to be taken
    out, with the reason. job: what made it; None where no job did.
    """

    parent: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    superseded: Mapping[str, str] = field(default_factory=dict)
    removals: Mapping[str, str] = field(default_factory=dict)
    job: str | None = None


def judge(context: Context, ref: JobRef, result: TrainedJob) -> Verdict:
    """Gate a job's candidate and end the job. Raises LeaseLost where another worker has it.

    Edits that were withdrawn while the candidate was made or gated are taken out of it, and what is
    left is gated again: no version on record holds one. Raises GateBlocked where the gate fails for
    what is not the job's: its blocks are kept, and gated again once that is mended.
    """
    job = held(context.ledger, ref)
    while True:
        gated, reasons = gate(context, result, job)
        with context.ledger.store.write():
            left = held(context.ledger, ref)
            if [edit.id for edit in left.edits] == [edit.id for edit in job.edits]:
                verdict = _finish(context, job, result, gated, reasons)
                break
            context.ledger.jobs.heartbeat(job, lease_seconds=context.settings.plan.lease_seconds)
        job = left
    forget(context.settings, job.id)
    return verdict


def verdict_on_record(ledger: Ledger, ref: JobRef) -> Verdict | None:
    """What was said when this very attempt ended the job; None where it has not."""
    job = ledger.jobs.get(ref.id)
    if (job.state, job.attempt, job.worker) != ("done", ref.attempt, ref.worker):
        return None
    rejected = sum((e.state, e.job_id) == ("rejected", job.id) for e in job.edits)
    if job.version is None:
        return Verdict(job.id, None, False, NOTHING, rejected=rejected)
    version = ledger.versions.get(job.version)
    return Verdict(
        job.id,
        version.id,
        version.verdict == "passed",
        version.reason or "",
        len(version.edits_added),
        len(version.edits_removed),
        rejected,
    )


def _finish(
    context: Context,
    job: Job,
    result: TrainedJob,
    gated: GateResult,
    reasons: Mapping[str, str],
) -> Verdict:
    """Put version, verdict and the job's end on record, in the caller's transaction."""
    base = context.versions.open(result.base)
    version = gated.version
    job_edits = {edit.id for edit in job.edits}
    beaten = {old: new for old, new in result.beaten.items() if new in version}
    lost = {old: new for old, new in beaten.items() if old in job_edits and gated.passed}
    rejected = {e: why for e, why in {**result.failed, **reasons}.items() if e in job_edits}
    held_back = {e: why for e, why in result.held.items() if e in job_edits and e not in rejected}
    if not gated.passed:
        why = f"its version failed the gate: {gated.reason}"
        rejected |= dict.fromkeys(job_edits - set(rejected) - set(held_back), why)
    added = tuple(edit for edit in version.edits if edit not in base)
    removed = tuple(edit for edit in base.edits if edit not in version)
    version_id = None if version.id == base.id else version.id
    if version_id is not None:
        removals = dict.fromkeys(job.removals, "taken out as asked")
        removals |= {e: f"taken out by the gate: {why}" for e, why in reasons.items() if e in base}
        record(
            context.ledger,
            gated,
            VersionDiff(result.base, added, removed, beaten, removals, job.id),
            train_seconds=round(sum(result.seconds.values()), 2),
            device=str(context.versions.backbone.device),
        )
    for old, new in lost.items():
        why = f"edit {new} answers the same question differently and came later"
        context.ledger.edits.transition([old], "superseded", "edit", why, version_id)
    context.ledger.jobs.finish(
        job,
        JobOutcome(
            version_id,
            trained=[edit for edit in added if edit in job_edits and gated.passed],
            rejected={edit: why for edit, why in rejected.items() if edit not in lost},
            held=held_back,
            rivals={edit: result.rivals[edit] for edit in held_back if edit in result.rivals},
        ),
    )
    return Verdict(
        job.id,
        version_id,
        gated.passed,
        gated.reason if version_id else NOTHING,
        len(added),
        len(removed),
        len(rejected),
        result.candidate,
    )


def gate(
    context: Context, result: TrainedJob, job: Job | None = None
) -> tuple[GateResult, dict[str, str]]:
    """Gate a candidate against the version it was built upon, and write what is left of it.

    An edit of the job whose own prompt fails is trained once more. Where the gate fails, new edits
    behind its failing probes are taken out, so that one bad edit never costs the whole job; where a
    rejected edit had taken the place of one in force, that one is put back. Then the whole is gated
    once more. Returns the last result, with what was taken out on the way, and why each rejected
    edit was. The report lies in HOME/reports/<version> then.
    """
    base = context.versions.open(result.base)
    champion = None if result.base == BASE else base
    version = _drop_withdrawn(context.versions.open(result.candidate), result, base, job)
    editor, options = context.versions.editor(result.base), GateOptions.of_home(context.settings)
    rejected: dict[str, Rejection] = {}
    repairs: list[Repair] = []
    retried: dict[str, str] = {}  # edits that were trained once more, and why that was in vain
    seconds, texts, tokens = 0.0, 0, 0  # of all rounds together
    with AnswerCache.open(context.paths.answers) as cache:
        for _ in range(ROUNDS):
            gated = gate_candidate(
                editor,
                version,
                champion,
                suites=suites_from(context.ledger, version, champion, folder=context.paths.suites),
                cache=cache,
                options=options,
            )
            seconds += gated.seconds
            texts += gated.regenerated
            tokens += gated.tokens
            to_retrain = worth_another_try(gated.rejected, job, set(retried))
            culprits = _culprits(gated, base)
            rejected |= {r.edit: r for r in (*gated.rejected, *culprits)}
            repairs += gated.repairs
            left = gated.version.without([r.edit for r in culprits]) if culprits else gated.version
            if to_retrain and job:
                failing = {r.edit: r.wordings for r in gated.rejected if r.edit in to_retrain}
                left, vain = trained_again(context, job, failing, version, left)
                retried |= dict.fromkeys(to_retrain, "") | vain
                rejected = {e: r for e, r in rejected.items() if e not in left}
            version = restored(result, set(rejected) | set(result.failed), base, left)
            if version.id == gated.version.id:
                break
        blocked = _blocked(editor, context, cache, gated, base)
        if blocked is not None:
            raise GateBlocked(
                f"the gate fails whatever is edited: {blocked.suite}, {blocked.metric}: "
                f"{blocked.reason}. Mend that, then run again: the blocks are kept."
            )
    gated = replace(
        gated,
        candidate=result.candidate,
        rejected=tuple(r for e, r in rejected.items() if e not in gated.version),
        repairs=tuple(r for r in repairs if r.edit in gated.version),
        seconds=seconds,
        regenerated=texts,
        tokens=tokens,
    )
    context.versions.save(gated.version)
    reported = result.candidate if gated.version.id == base.id else gated.version.id
    write_report(gated, context.paths.report(reported))
    return gated, {r.edit: _reason(r, retried.get(r.edit)) for r in gated.rejected}


def _blocked(
    editor: Editor, context: Context, cache: AnswerCache, gated: GateResult, base: Version
) -> Check | None:
    """A check that failed, but not for the job's edits: to reject them would mend nothing.

    It is one of the cache or the backbone, which no edit can make fail, or one that no edit answers
    for and that fails for the version without the job's edits too.
    """
    failed = [c for c in gated.checks if not c.passed]
    if not failed or all(edit in base for edit in gated.version.edits):
        return None
    for check in failed:
        if check.suite in FROZEN:
            return check
    answered = {p.suite for p in gated.probes if not p.passed and p.edit is not None}
    unanswered = {(c.suite, c.metric) for c in failed if c.suite not in answered}
    if not unanswered:
        return None
    thresholds = replace(Thresholds.of_home(context.settings), repair=RepairRules(rounds=0))
    before = gate_candidate(
        editor,
        base,
        None,
        suites=suites_from(context.ledger, base, folder=context.paths.suites),
        cache=cache,
        options=GateOptions(thresholds),
    )
    return next(
        (c for c in before.checks if (c.suite, c.metric) in unanswered and not c.passed), None
    )


def _drop_withdrawn(
    version: Version, result: TrainedJob, base: Version, job: Job | None
) -> Version:
    """The candidate without new edits that the job no longer has: they were withdrawn meanwhile."""
    job_edits = {edit.id for edit in job.edits} if job else set()
    withdrawn = {edit for edit in version.edits if edit not in base and edit not in job_edits}
    if not withdrawn:
        return version
    return restored(result, withdrawn, base, version.without(sorted(withdrawn)))


def record(ledger: Ledger, gated: GateResult, diff: VersionDiff, **info: object) -> None:
    """Put a gated version, its probes and its verdict on record. info: further entries of its record."""
    version = gated.version
    ledger.versions.record(
        version.id,
        parent=None if diff.parent == BASE else diff.parent,
        job_id=diff.job,
        edits_added=diff.added,
        edits_removed=diff.removed,
        info={
            "edits": len(version),
            "built": {"upon": diff.parent, "at": datetime.now(UTC).isoformat()},
            "deleted": None,  # content that was deleted is here again
            "backbone": version.backbone_name,
            "superseded": dict(diff.superseded),
            "asked": dict(diff.removals),
            "gate_seconds": round(gated.seconds, 2),
            "regenerated": gated.regenerated,
            "cached": gated.cached,
            "tokens": gated.tokens,
            "narrow": {edit: list(wordings) for edit, wordings in gated.narrow.items()},
            **info,
        },
    )
    ledger.versions.record_probe_results(
        version.id,
        [
            Probed(
                p.suite,
                p.probe_id,
                text_of(p.prompt),
                p.expected,
                p.before,
                p.after,
                p.passed,
                p.edit,
                p.cached,
                p.distance,
            )
            for p in gated.probes
        ],
    )
    ledger.wordings.note_narrow(version.id, gated.narrow, judged=version.edits)
    failures = Counter(p.suite for p in gated.probes if not p.passed)
    ledger.versions.record_verdict(
        version.id,
        passed=gated.passed,
        reason=gated.reason,
        suites=[
            SuiteVerdict(c.suite, c.metric, c.value, c.threshold, c.passed, c.n, failures[c.suite])
            for c in gated.checks
        ],
    )


def _culprits(gated: GateResult, base: Version) -> list[Rejection]:
    """Edits that answered a failing probe of a suite whose check failed: the new ones, else the old.

    An edit in force can come to fail when what is asked changes, as when a user adds a suite. Were it
    left in, every version after it would fail for it.
    """
    failed = {check.suite for check in gated.checks if not check.passed}
    culprits: dict[str, Rejection] = {}
    for p in gated.probes:
        if p.edit is not None and p.edit in gated.version and not p.passed and p.suite in failed:
            why = f"it answers a probe of suite {p.suite}, which failed"
            culprits[p.edit] = Rejection.by(p, p.edit, why)
    new = [r for r in culprits.values() if r.edit not in base]
    return new or list(culprits.values())


def _reason(rejection: Rejection, retry: str | None) -> str:
    """The reason on record. retry: None without a second training, else why that failed."""
    reason = (
        f'{rejection.reason}; suite {rejection.suite}, "{rejection.probe[:120]}": '
        f'"{rejection.before[:80]}" became "{rejection.after[:80]}"'
    )
    return reason if retry is None else f"{reason}; {retry or 'trained again, and failed again'}"
