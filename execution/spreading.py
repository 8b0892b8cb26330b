"""A job's training spread over workers: how it was cut, and waiting for what the others train.

    job ──cut──► HOME/work/<job>.plan.json ──► shard 0 ─► HOME/work/<job>.0-<digest>.json ──┐
                                          ├──► shard 1 ─► HOME/work/<job>.1-<digest>.json ──┼─► merged
                                          └──► ...                                          ┘

A shard that nobody brought is trained by whoever merges.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.states import Cancelled

from config import Settings
from execution import work_folder

LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How a job is cut. shards: ids of edits."""

    job: str
    base: str
    removals: tuple[str, ...]
    shards: tuple[tuple[str, ...], ...]

    def digest(self, number: int) -> str:
        """Of everything that decides what training a shard gives, but for the settings."""
        content = [self.base, self.removals, self.shards[number]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def shard_file(self, settings: Settings, number: int) -> Path:
        """The file for what came of a shard's training."""
        return settings.paths.work / f"{self.job}.{number}-{self.digest(number)}.json"

    def write(self, settings: Settings) -> None:
        """Leave it for whoever trains a shard."""
        work_folder.write(work_folder.plan_file(settings, self.job), asdict(self))


def read_plan(settings: Settings, job: str) -> Plan | None:
    """How a job was cut; None where it was not."""
    try:
        values = work_folder.read(work_folder.plan_file(settings, job))
        values["shards"] = tuple(tuple(shard) for shard in values["shards"])
        return Plan(**{**values, "removals": tuple(values["removals"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def all_there(settings: Settings, job: str) -> bool:
    """Whether every shard of a job has been brought."""
    plan = read_plan(settings, job)
    return plan is not None and all(
        plan.shard_file(settings, number).exists() for number in range(len(plan.shards))
    )


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


def await_shards(settings: Settings, job: str, runs: Sequence[UUID]) -> None:
    """Wait for a job's shards until all are there or the runs that train them have ended.

    For `workers.patience_seconds` at most.
    """
    deadline = time.monotonic() + settings.workers.patience_seconds
    waiting = list(runs)
    with get_client(sync_client=True) as client:
        while waiting and not all_there(settings, job) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            waiting = [run for run in waiting if not _ended(client.read_flow_run(run))]


def _begun(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_running() or run.state.is_final())


def _ended(run: FlowRun) -> bool:
    return run.state is None or run.state.is_final()
