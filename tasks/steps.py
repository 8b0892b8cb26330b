"""The steps as Prefect tasks: each takes a home and ids, opens what it needs, and gives ids back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import task

from config import load
from tasks import work
from tasks.edit import edit_job, trained
from tasks.ingest import ingest_paths
from tasks.judge import Verdict, judge
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import register
from tasks.register.promote import advance
from tasks.versions import open_backbone, open_ledger
from tasks.work import JobRef


@task(name="mend")
def mend(home: str) -> dict[str, int]:
    """Take up what a dead process left. Raises where the backbone can't be opened."""
    settings = load(home)
    open_backbone(settings)
    with open_ledger(settings) as ledger:
        return asdict(reconcile(settings, ledger))


@task(name="take-in")
def take_in(home: str, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Read paths, or the inbox where none are given, into the ledger; read files leave the inbox."""
    settings = load(home)
    inbox = settings.paths.inbox
    waiting = [str(p) for p in sorted(inbox.glob("*")) if _is_input(p)] if inbox.is_dir() else []
    chosen = list(paths) or waiting
    if not chosen:
        return []
    with open_ledger(settings) as ledger:
        outcome = ingest_paths(ledger, chosen, settings)
    for name in waiting if not paths else ():
        done = settings.home / "ingested"
        done.mkdir(exist_ok=True)
        Path(name).replace(done / Path(name).name)
    return [asdict(file) for file in outcome.files]


@task(name="next-job")
def next_job(home: str) -> JobRef | None:
    """Take the most pressing job; where none waits, plan what is ready and look again."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        ref = work.lease(settings, ledger)
        if ref is None and plan(ledger, settings):
            ref = work.lease(settings, ledger)
        return ref


@task(name="train")
def train(home: str, job: JobRef) -> str:
    """Train a job's blocks; the candidate's id."""
    settings = load(home)
    with open_ledger(settings) as ledger, work.heartbeat(settings, ledger, job):
        return edit_job(settings, ledger, work.held(ledger, job)).candidate


@task(name="gate")
def gate(home: str, job: JobRef) -> Verdict:
    """Gate a job's candidate and end the job."""
    settings = load(home)
    with open_ledger(settings) as ledger, work.heartbeat(settings, ledger, job):
        result = trained(settings, job.id)
        if result is None:
            result = edit_job(settings, ledger, work.held(ledger, job))
        return judge(settings, ledger, work.held(ledger, job), result)


@task(name="register")
def register_version(home: str, version: str) -> str | None:
    """Log a version to MLflow; the registry's number, None where it failed its gate."""
    settings = load(home)
    with open_ledger(settings) as ledger:
        return register(settings, ledger, version)


@task(name="promote")
def promote_version(home: str, version: str) -> bool:
    """Let a passed version serve, where promotion is automatic and nothing overtook it."""
    settings = load(home)
    if settings.registry.promotion == "manual":
        return False
    with open_ledger(settings) as ledger:
        return advance(settings, ledger, version, actor="run") is not None


@contextlib.contextmanager
def working_on(home: str, job: JobRef) -> Iterator[None]:
    """What fails inside is put on record, and the job handed back, to be tried again or set aside."""
    try:
        yield
    except Exception as error:
        settings = load(home)
        said = f"{type(error).__name__}: {error}"
        with open_ledger(settings) as ledger:
            again = work.give_back(settings, ledger, job, said)
            ledger.record_event(
                "job-failed",
                f"job {job.id}, attempt {job.attempt}: {said[:500]}; "
                + ("it is tried again" if again else "it is set aside"),
                severity="error",
            )


def _is_input(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != ".part"
