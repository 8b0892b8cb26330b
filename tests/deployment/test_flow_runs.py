"""Which runs nobody is at, and which nobody needs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from deployment.flow_runs import RUN_ID, orphaned, surplus_of


def run(number: str, kind: str, **more: Any) -> dict[str, Any]:
    """A run as Prefect's API tells of it."""
    now = datetime.now(UTC).isoformat()
    return {
        "id": number,
        "name": number,
        "state_type": kind,
        "state": {"timestamp": now},
        "infrastructure_pid": None,
        "auto_scheduled": True,
        "deployment_id": "edit",
        "expected_start_time": now,
        **more,
    }


def test_a_run_is_orphaned_when_its_own_process_is_gone() -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine = subprocess.Popen(sleeper, env={**os.environ, RUN_ID: "mine"})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    try:
        runs = [
            run("mine", "RUNNING", infrastructure_pid=str(mine.pid)),
            run("another's number", "RUNNING", infrastructure_pid=str(mine.pid)),
            run("dead", "PENDING", infrastructure_pid=f"host:{gone.pid}"),
            run("starting", "PENDING"),
            run("due", "SCHEDULED"),
        ]
        assert [r["id"] for r in orphaned(runs)] == ["another's number", "dead"]
    finally:
        mine.kill()
        mine.wait()


def test_a_run_that_never_got_a_process_is_orphaned_after_a_while() -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert orphaned([run("stuck", "PENDING", state={"timestamp": long_ago})])


def test_a_pod_is_not_a_process_of_this_machine() -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    told = {"timestamp": long_ago}
    assert not orphaned([run("pod", "RUNNING", infrastructure_pid="cluster:pod-x", state=told)])


def test_of_late_runs_the_latest_of_each_deployment_stays() -> None:
    times = [f"2026-11-23T0{hour}:00:00Z" for hour in range(4)]
    late = [run(time, "SCHEDULED", expected_start_time=time) for time in times]
    late.append(run("asked for", "SCHEDULED", auto_scheduled=False))
    late.append(run("other", "SCHEDULED", deployment_id="audit"))
    assert [r["id"] for r in surplus_of(late)] == times[:3]
