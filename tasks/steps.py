"""The steps as Prefect tasks: each takes what its run has open and ids, and gives ids back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from execution import leases
from execution.alerts import tell, tell_of_backlog
from execution.context import Context, opened
from execution.costs import measured, note_size
from execution.leases import JobRef
from execution.lineage import resolve
from execution.retries import PATIENT
from execution.spreading import read_plan
from ledger import Ledger
from tasks.compact import compact
from tasks.edit import edit_job, trained
from tasks.edit.shards import cut, train_shard
from tasks.fold import fold
from tasks.gate.by_hand import audit
from tasks.ingest import (
    IngestOutcome,
    ingest_inbox,
    ingest_paths,
    retry_quarantined,
    rules_from,
)
from tasks.judge import Verdict, judge, verdict_on_record
from tasks.pages import link_version, show_verdict
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import log_audit, log_fruitless, register
from tasks.register.promote import advance
from tasks.rollback import roll_back
from tasks.similar import group_similar
from tasks.write_back import write_back

P = ParamSpec("P")
R = TypeVar("R")
Step = Callable[Concatenate[Context, P], R]


def step(name: str) -> Callable[[Step[P, R]], Step[P, R]]:
    """Make a Prefect task of a function; it is tried again while its error is one that may pass.

    It runs in the process of its flow, so that it can take the context; nothing of that is hashed.
    """

    def as_task(function: Step[P, R]) -> Step[P, R]:
        @wraps(function)
        def run(context: Context, *args: P.args, **kwargs: P.kwargs) -> R:
            with context.step():
                return function(context, *args, **kwargs)

        prefect_task: Step[P, R] = task(name=name, cache_policy=NO_CACHE, **PATIENT)(run)
        return prefect_task

    return as_task


@step("ingest")
def take_in(context: Context, paths: list[str]) -> dict[str, int]:
    """Take files in; a retry goes on where the last try stopped."""
    return _counts(ingest_paths(context, paths))


@step("ingest-inbox")
def take_in_inbox(context: Context) -> dict[str, int]:
    """Take in what waits in the home's inbox."""
    return _counts(ingest_inbox(context))


@step("mend")
def mend(context: Context) -> dict[str, int]:
    """Take up what a dead process left. Raises where the backbone can't be opened."""
    _ = context.versions.backbone
    return asdict(reconcile(context))


@step("next-job")
def next_job(context: Context, taken: Sequence[str] = ()) -> JobRef | None:
    """Take the most pressing job that this run has not; where none waits, plan and look again.

    Questions that are alike are found first, so that they come into one job. taken: the jobs of
    this run. What one of them could not take out is planned by the next run.
    """
    ref = leases.lease(context, taken)
    if ref is None and not _removals_freed(context.ledger, taken):
        group_similar(context)
        if plan(context):
            ref = leases.lease(context, taken)
    return ref


@step("train")
def train(context: Context, job: JobRef) -> str:
    """Train a job's blocks; the candidate's id."""
    with leases.heartbeat(context, job), measured(context.ledger, "train", job=job.id):
        return edit_job(context, job).candidate


@step("gate")
def gate(context: Context, job: JobRef) -> Verdict:
    """Gate a job's candidate and end the job; tried again after that, the verdict on record."""
    verdict = verdict_on_record(context.ledger, job)
    if verdict is not None:
        return verdict
    with leases.heartbeat(context, job):
        result = trained(context, job.id) or edit_job(context, job)
        with measured(context.ledger, "gate", job=job.id):
            return judge(context, job, result)


@step("show-verdict")
def show(context: Context, verdict: Verdict) -> None:
    """Bring what the gate said to the pages of MLflow and Prefect, and tell of what it rejected."""
    job = verdict.job or ""
    if verdict.version is not None:
        note_size(context, verdict.version)
    elif verdict.candidate is not None:
        log_fruitless(context, job, verdict.candidate)
    show_verdict(context, verdict)
    if verdict.rejected or not verdict.passed:
        tell(
            context,
            "version.rejected",
            f"job {job}: {verdict.rejected} edits rejected; {verdict.reason}",
            job=job,
            version=verdict.version,
            rejected=verdict.rejected,
            passed=verdict.passed,
        )


@step("register")
def register_version(context: Context, version: str) -> str | None:
    """Log a version to MLflow; the registry's number, None where it failed its gate."""
    with measured(context.ledger, "register", version=version):
        number = register(context, version)
    link_version(context, version, number)
    return number


@step("promote")
def promote_version(context: Context, version: str) -> bool:
    """Let a passed version serve, where promotion is automatic and nothing overtook it."""
    if context.settings.registry.promotion == "manual":
        return False
    with measured(context.ledger, "promote", version=version):
        done = advance(context, version, actor="run")
    if done is not None:
        message = f"version {version[:12]} serves since now"
        tell(context, "version.promoted", message, version=version, before=done.before)
    return done is not None


@step("write-back")
def tell_sources(context: Context) -> dict[str, int]:
    """Tell the tools that reports came from which edits serve, where that is set."""
    return asdict(write_back(context))


@step("audit-champion")
def audit_champion(context: Context) -> bool:
    """Gate the champion in full, answers from the cache compared with new ones."""
    if context.ledger.champions.current() is None:
        return True
    result = audit(context)
    log_audit(context, result.candidate)
    return bool(result.passed)


@step("keep-dates")
def keep_dates(context: Context) -> dict[str, int]:
    """Retire what is no longer valid and let in what now is."""
    return context.ledger.review.come_due(rules_from(context.settings))


@step("retry-lines")
def retry_lines(context: Context) -> int:
    """Judge quarantined lines again; how many can be used now."""
    return retry_quarantined(context)


@step("sweep")
def sweep(context: Context) -> dict[str, int]:
    """Fold what the champion has in many shards; free what no version on record refers to."""
    fold(context)
    return asdict(compact(context))


@step("go-back")
def go_back(context: Context, version: str | None, reason: str) -> str:
    """Let an earlier version serve again; its id."""
    chosen = resolve(context.ledger, version) if version else None
    return roll_back(context, chosen, actor="flow", reason=reason).version


@step("call-for-editing")
def call_for_editing(context: Context) -> bool:
    """Tell the edit flow that enough or urgent edits wait, so that it need not wait for its hour."""
    backlog = context.ledger.edits.backlog()
    tell_of_backlog(context, backlog)
    call = bool(backlog.urgent) or backlog.edits >= context.settings.plan.enough_edits
    if call:
        emit_event(
            "melo.edits.waiting",
            resource={"prefect.resource.id": f"melo.home.{context.settings.home}"},
        )
    return call


@step("cut-job")
def cut_job(context: Context, job: JobRef) -> int:
    """Cut a job; how many shards, 0 where it is small enough to be trained at once."""
    with leases.heartbeat(context, job):
        plan = cut(context, leases.held(context.ledger, job))
        return len(plan.shards) if plan else 0


@task(name="train-shard", **PATIENT)
def bring_shard(home: str, job: str, number: int) -> int:
    """Train a shard, unless it is there; 1 where it is there now, 0 where its job has ended.

    It may run in a process of its own, which opens the home for itself.
    """
    with opened(home) as context:
        plan = read_plan(context.settings, job)
        if plan is None:
            return 0
        train_shard(context, plan, number)
        return 1


def _removals_freed(ledger: Ledger, jobs: Sequence[str]) -> bool:
    """Whether a job was set aside with edits that it was to take out."""
    ended = [ledger.jobs.get(job) for job in jobs]
    return any(job.state == "failed" and job.removals for job in ended)


def _counts(outcome: IngestOutcome) -> dict[str, int]:
    return {name: outcome.total(name) for name in ("lines", "accepted", "quarantined")}
