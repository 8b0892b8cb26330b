"""The steps as Prefect tasks: each takes a home and ids, opens what it needs, gives ids back."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from prefect import task
from prefect.events import emit_event

from config import Settings, load
from ledger import Ledger
from tasks import progress, work
from tasks.alerts import tell, tell_of_backlog
from tasks.compact import compact
from tasks.costs import measured, note_size
from tasks.edit import base_opens, edit_job, trained
from tasks.fold import fold
from tasks.gate.by_hand import audit
from tasks.ingest import retry_quarantined, rules_from
from tasks.judge import Verdict, judge, verdict_on_record
from tasks.pages import link_version, show_verdict
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import log_audit, log_fruitless, register
from tasks.register.promote import advance
from tasks.retries import PATIENT, Fault, fault_of
from tasks.rollback import roll_back
from tasks.similar import group_similar
from tasks.versions import open_backbone, open_ledger, resolve
from tasks.work import JobRef
from tasks.write_back import write_back


@task(name="mend", **PATIENT)
def mend(home: str) -> dict[str, int]:
    """Take up what a dead process left. Raises where the backbone can't be opened."""
    settings = load(home)
    open_backbone(settings)
    with open_ledger(settings) as ledger:
        return asdict(reconcile(settings, ledger))


@task(name="next-job", **PATIENT)
def next_job(home: str, taken: Sequence[str] = ()) -> JobRef | None:
    """Take the most pressing job that this run has not; where none waits, plan and look again.

    Questions that are alike are found first, so that they come into one job. taken: the jobs of
    this run. What one of them could not take out is planned by the next run.
    """
    settings = load(home)
    with open_ledger(settings) as ledger:
        ref = work.lease(settings, ledger, taken)
        if ref is None and not _freed(ledger, taken):
            group_similar(settings, ledger)
            if plan(ledger, settings):
                ref = work.lease(settings, ledger, taken)
        return ref


@task(name="train", **PATIENT)
def train(home: str, job: JobRef) -> str:
    """Train a job's blocks; the candidate's id."""
    settings = load(home)
    with (
        open_ledger(settings) as ledger,
        work.heartbeat(settings, ledger, job),
        measured(ledger, "train", job=job.id),
    ):
        return edit_job(settings, ledger, work.held(ledger, job)).candidate


@task(name="gate", **PATIENT)
def gate(home: str, job: JobRef) -> Verdict:
    """Gate a job's candidate and end the job; tried again after that, the verdict on record."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        known = verdict_on_record(ledger, job)
        if known is not None:
            return known
        with work.heartbeat(settings, ledger, job):
            result = trained(settings, job.id)
            if result is None:
                result = edit_job(settings, ledger, work.held(ledger, job))
            with measured(ledger, "gate", job=job.id):
                return judge(settings, ledger, work.held(ledger, job), result)


@task(name="show-verdict", **PATIENT)
def show(home: str, verdict: Verdict) -> None:
    """Bring what the gate said to the pages of MLflow and Prefect, and tell of what it rejected."""
    settings = load(home)
    job = verdict.job or ""
    with open_ledger(settings) as ledger:
        if verdict.version is not None:
            note_size(settings, ledger, verdict.version)
        elif verdict.candidate is not None:
            log_fruitless(settings, ledger, job, verdict.candidate)
        show_verdict(settings, ledger, verdict)
    if verdict.rejected or not verdict.passed:
        tell(
            home, "version.rejected", f"job {job}: {verdict.rejected} edits rejected; "
            f"{verdict.reason}", job=job, version=verdict.version, rejected=verdict.rejected,
            passed=verdict.passed,
        )  # fmt: skip


@task(name="register", **PATIENT)
def register_version(home: str, version: str) -> str | None:
    """Log a version to MLflow; the registry's number, None where it failed its gate."""
    settings = load(home)
    with open_ledger(settings) as ledger, measured(ledger, "register", version=version):
        number = register(settings, ledger, version)
    link_version(settings, version, number)
    return number


@task(name="promote", **PATIENT)
def promote_version(home: str, version: str) -> bool:
    """Let a passed version serve, where promotion is automatic and nothing overtook it."""
    settings = load(home)
    if settings.registry.promotion == "manual":
        return False
    with open_ledger(settings) as ledger, measured(ledger, "promote", version=version):
        done = advance(settings, ledger, version, actor="run")
    if done is not None:
        said = f"version {version[:12]} serves since now"
        tell(home, "version.promoted", said, version=version, before=done.before)
    return done is not None


@task(name="write-back", **PATIENT)
def tell_sources(home: str) -> dict[str, int]:
    """Tell the tools that reports came from which edits serve, where that is set."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return asdict(write_back(settings, ledger))


@task(name="audit-champion", **PATIENT)
def audit_champion(home: str) -> bool:
    """Gate the champion in full, answers from the cache compared with new ones."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        if ledger.champions.current() is None:
            return True
        result = audit(settings, ledger, progress.report)
        log_audit(settings, ledger, result.candidate)
        return bool(result.passed)


@task(name="keep-dates", **PATIENT)
def keep_dates(home: str) -> dict[str, int]:
    """Retire what is no longer valid and let in what now is."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return ledger.review.come_due(rules_from(settings))


@task(name="retry-lines", **PATIENT)
def retry_lines(home: str) -> int:
    """Judge quarantined lines again; how many can be used now."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return retry_quarantined(ledger, settings)


@task(name="sweep", **PATIENT)
def sweep(home: str) -> dict[str, int]:
    """Fold what the champion has in many shards; free what no version on record refers to."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        fold(settings, ledger)
        return asdict(compact(settings, ledger))


@task(name="go-back", **PATIENT)
def go_back(home: str, version: str | None, reason: str) -> str:
    """Let an earlier version serve again; its id."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        chosen = resolve(ledger, version) if version else None
        return roll_back(settings, ledger, chosen, actor="flow", reason=reason).version


@task(name="call-for-editing", **PATIENT)
def call_for_editing(home: str) -> bool:
    """Tell the edit flow that enough or urgent edits wait, so that it need not wait for its hour."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        backlog = ledger.edits.backlog()
    tell_of_backlog(settings, backlog)
    call = bool(backlog.urgent) or backlog.edits >= settings.plan.enough_edits
    if call:
        emit_event("melo.edits.waiting", resource={"prefect.resource.id": f"melo.home.{home}"})
    return call


@contextlib.contextmanager
def working_on(home: str, job: JobRef) -> Iterator[None]:
    """Put on record what fails inside, and hand the job back, to be tried again or set aside.

    What is not the job's own fault ends the run instead, without counting against the job: an error
    that may pass, a base that can't be opened, an order to end. The next run goes on from there.
    """
    try:
        yield
    except BaseException as error:
        settings = load(home)
        said = f"{type(error).__name__}: {error}"
        _keep_traceback(settings, job)
        with open_ledger(settings) as ledger:
            fault = fault_of(error)
            if fault is not Fault.NOT_ITS and not base_opens(settings, ledger):
                fault = Fault.NOT_ITS
            became = work.hand_back(settings, ledger, job, said, fault)
            ledger.events.record(
                "job-failed",
                f"job {job.id}, attempt {job.attempt}: {said[:500]}; {became.value}",
                severity="error",
            )
        if became is work.Became.SET_ASIDE:
            tell(home, "job.set-aside", f"job {job.id} is set aside: {said[:500]}", job=job.id)
        if fault is Fault.NOT_ITS:
            raise


def _freed(ledger: Ledger, jobs: Sequence[str]) -> bool:
    """Whether a job was set aside with edits that it was to take out."""
    ended = [ledger.jobs.get(job) for job in jobs]
    return any(job.state == "failed" and job.removals for job in ended)


def _keep_traceback(settings: Settings, job: JobRef) -> None:
    """Append it to HOME/logs/failures.log, where the reason on record is not enough."""
    log = settings.home / "logs" / "failures.log"
    with contextlib.suppress(OSError):  # a full disk must not keep the job from being handed back
        log.parent.mkdir(exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"job {job.id}, attempt {job.attempt}\n{traceback.format_exc()}\n")
