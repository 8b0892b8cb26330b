"""The steps of spreading a job's training: cut it, train a shard, wait for what others train."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.states import Cancelled

from config import Settings, load
from tasks import work
from tasks.retries import PATIENT
from tasks.shards import all_there, cut, read_plan, train_shard
from tasks.versions import open_ledger
from tasks.work import JobRef

LOOK_EVERY = 1.0  # seconds


@task(name="cut-job", **PATIENT)
def cut_job(home: str, job: JobRef) -> int:
    """Cut a job; how many shards, 0 where it is small enough to be trained at once."""
    settings = load(home)
    with open_ledger(settings) as ledger, work.heartbeat(settings, ledger, job):
        plan = cut(settings, ledger, work.held(ledger, job))
        return len(plan.shards) if plan else 0


@task(name="train-shard", **PATIENT)
def bring_shard(home: str, job: str, number: int) -> int:
    """Train a shard, unless it is there; 1 where it is there now, 0 where its job has ended."""
    settings = load(home)
    plan = read_plan(settings, job)
    if plan is None:
        return 0
    with open_ledger(settings) as ledger:
        train_shard(settings, ledger, plan, number)
    return 1


@contextlib.contextmanager
def keep_job(home: str, job: JobRef) -> Iterator[None]:
    """Keep the lease while others work on the job."""
    settings = load(home)
    with open_ledger(settings) as ledger, work.heartbeat(settings, ledger, job):
        yield


def take_back(settings: Settings, runs: Sequence[UUID]) -> list[UUID]:
    """Cancel runs that no worker has begun in `workers.begin_seconds`; those that are left."""
    deadline = time.monotonic() + settings.workers.begin_seconds
    with get_client(sync_client=True) as client:
        idle = [run for run in runs if not _begun(client.read_flow_run(run))]
        while idle and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            idle = [run for run in idle if not _begun(client.read_flow_run(run))]
        for run in idle:
            client.set_flow_run_state(run, Cancelled(message="No worker was free."))
    return [run for run in runs if run not in idle]


def await_shards(settings: Settings, job: str, runs: Sequence[UUID]) -> bool:
    """Wait for a job's shards until all are there or the runs that train them have ended.

    For `workers.patience_seconds` at most; whether all are there.
    """
    deadline = time.monotonic() + settings.workers.patience_seconds
    waiting = list(runs)
    with get_client(sync_client=True) as client:
        while waiting and not all_there(settings, job) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            waiting = [run for run in waiting if not _ended(client.read_flow_run(run))]
    return all_there(settings, job)


def _begun(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_running() or run.state.is_final())


def _ended(run: FlowRun) -> bool:
    return run.state is None or run.state.is_final()
