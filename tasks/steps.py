"""The steps as Prefect tasks: each takes a home and ids, opens what it needs, gives ids back."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import asdict

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from config import Settings, load
from ledger import Ledger
from tasks import work
from tasks.compact import compact
from tasks.costs import measured, note_size
from tasks.edit import edit_job, trained
from tasks.gate.by_hand import audit
from tasks.ingest import retry_quarantined, rules_from
from tasks.judge import Verdict, judge
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import register, roll_back
from tasks.register.promote import advance
from tasks.similar import group_similar
from tasks.versions import open_backbone, open_ledger, resolve
from tasks.work import JobRef

SHOWN = 100  # edits of a job on its page


@task(name="mend")
def mend(home: str) -> dict[str, int]:
    """Take up what a dead process left. Raises where the backbone can't be opened."""
    settings = load(home)
    open_backbone(settings)
    with open_ledger(settings) as ledger:
        return asdict(reconcile(settings, ledger))


@task(name="next-job")
def next_job(home: str) -> JobRef | None:
    """Take the most pressing job; where none waits, plan what is ready and look again.

    Questions that are alike are found first, so that they come into one job.
    """
    settings = load(home)
    with open_ledger(settings) as ledger:
        ref = work.lease(settings, ledger)
        if ref is None:
            group_similar(settings, ledger)
            if plan(ledger, settings):
                ref = work.lease(settings, ledger)
        return ref


@task(name="train")
def train(home: str, job: JobRef) -> str:
    """Train a job's blocks; the candidate's id."""
    settings = load(home)
    with (
        open_ledger(settings) as ledger,
        work.heartbeat(settings, ledger, job),
        measured(ledger, "train", job=job.id),
    ):
        return edit_job(settings, ledger, work.held(ledger, job)).candidate


@task(name="gate")
def gate(home: str, job: JobRef) -> Verdict:
    """Gate a job's candidate and end the job."""
    settings = load(home)
    with open_ledger(settings) as ledger, work.heartbeat(settings, ledger, job):
        result = trained(settings, job.id)
        if result is None:
            result = edit_job(settings, ledger, work.held(ledger, job))
        with measured(ledger, "gate", job=job.id):
            verdict = judge(settings, ledger, work.held(ledger, job), result)
        if verdict.version is not None:
            note_size(settings, ledger, verdict.version)
        _show(settings, ledger, verdict)
        return verdict


@task(name="register")
def register_version(home: str, version: str) -> str | None:
    """Log a version to MLflow; the registry's number, None where it failed its gate."""
    settings = load(home)
    with open_ledger(settings) as ledger, measured(ledger, "register", version=version):
        return register(settings, ledger, version)


@task(name="promote")
def promote_version(home: str, version: str) -> bool:
    """Let a passed version serve, where promotion is automatic and nothing overtook it."""
    settings = load(home)
    if settings.registry.promotion == "manual":
        return False
    with open_ledger(settings) as ledger, measured(ledger, "promote", version=version):
        return advance(settings, ledger, version, actor="run") is not None


@task(name="audit-champion")
def audit_champion(home: str) -> bool:
    """Gate the champion in full, answers from the cache compared with new ones."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        if ledger.champion() is None:
            return True
        return bool(audit(settings, ledger).passed)


@task(name="keep-dates")
def keep_dates(home: str) -> dict[str, int]:
    """Retire what is no longer valid and let in what now is."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return ledger.come_due(rules_from(settings))


@task(name="retry-lines")
def retry_lines(home: str) -> int:
    """Judge quarantined lines again; how many can be used now."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return retry_quarantined(ledger, settings)


@task(name="sweep")
def sweep(home: str) -> dict[str, int]:
    """Free what no version on record refers to."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return asdict(compact(settings, ledger))


@task(name="go-back")
def go_back(home: str, version: str | None, reason: str) -> str:
    """Let an earlier version serve again; its id."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        chosen = resolve(ledger, version) if version else None
        return roll_back(settings, ledger, chosen, actor="flow", reason=reason).version


@task(name="call-for-editing")
def call_for_editing(home: str) -> bool:
    """Tell the edit flow that something waits, so that it need not wait for its hour."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        waiting = len(ledger.edits(state="ready")) + len(ledger.jobs(state="open"))
    if waiting:
        emit_event("melo.edits.waiting", resource={"prefect.resource.id": f"melo.home.{home}"})
    return bool(waiting)


@contextlib.contextmanager
def working_on(home: str, job: JobRef) -> Iterator[None]:
    """Put on record what fails inside, and hand the job back, to be tried again or set aside."""
    try:
        yield
    except Exception as error:
        settings = load(home)
        said = f"{type(error).__name__}: {error}"
        _keep_traceback(settings, job)
        with open_ledger(settings) as ledger:
            again = work.give_back(settings, ledger, job, said)
            ledger.record_event(
                "job-failed",
                f"job {job.id}, attempt {job.attempt}: {said[:500]}; "
                + ("it is tried again" if again else "it is set aside"),
                severity="error",
            )


def _show(settings: Settings, ledger: Ledger, verdict: Verdict) -> None:
    """The verdict table and what became of each edit, on the run's page in Prefect."""
    job = ledger.job(verdict.job or "")
    name = (verdict.version or "none")[:12]
    create_table_artifact(
        key=f"edits-{job.id}",
        table=[
            {"edit": e.id[:12], "prompt": e.prompt[:80], "target": e.target, "became": e.state,
             "why": ledger.history(e.id)[-1].reason[:200]}
            for e in job.edits[:SHOWN]
        ],
        description=f"Edits of job {job.id}: {verdict.added} in version {name}",
    )  # fmt: skip
    if verdict.version is not None:
        create_table_artifact(
            key=f"verdict-{name}",
            table=[
                {"suite": s.suite, "metric": s.metric, "value": s.value, "threshold": s.threshold,
                 "probes": s.probes, "failed": s.failed, "passed": s.passed}
                for s in ledger.suite_verdicts(verdict.version)
            ],
            description=f"Version {name} {'passed' if verdict.passed else 'failed'} its gate: "
            f"{verdict.reason}. [Look at it]({settings.dashboard_url}/version?version={name})",
        )  # fmt: skip


def _keep_traceback(settings: Settings, job: JobRef) -> None:
    """Append it to HOME/logs/failures.log, where the reason on record is not enough."""
    log = settings.home / "logs" / "failures.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"job {job.id}, attempt {job.attempt}\n{traceback.format_exc()}\n")
