"""Flow runs on the Prefect server that nobody is at, or that nobody needs any more.

orphaned   PENDING or RUNNING, its process on this machine gone      → crashed, its place is free
surplus    late, with a later one of the same deployment due as well → cancelled: one run takes
                                                                       the work of all of them
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil

STARTING = timedelta(minutes=10)  # a run without a process id may still be starting
PATIENCE = 60.0  # seconds for the server to answer
RUN_ID = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process


def tidy(api: str) -> int:
    """Mark orphaned runs as crashed and cancel surplus ones; how many crashed. Raises httpx.HTTPError."""
    runs = unfinished(api)
    orphans, surplus = orphaned(runs), surplus_of(runs)
    for run in orphans:
        _set(api, run, "CRASHED", "Its process died.")
    for run in surplus:
        _set(api, run, "CANCELLED", "A later run does its work.")
    return len(orphans)


def unfinished(api: str) -> list[dict[str, Any]]:
    """Runs that are at work or due by now."""
    now = datetime.now(UTC).isoformat()
    runs: list[dict[str, Any]] = []
    for wanted in (
        {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
        {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now}},
    ):
        answer = httpx.post(
            f"{api}/flow_runs/filter", json={"flow_runs": wanted}, timeout=PATIENCE, trust_env=False
        )
        runs += answer.raise_for_status().json()
    return runs


def orphaned(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose process was on this machine and has ended."""
    return [run for run in runs if run["state_type"] != "SCHEDULED" and not _attended(run)]


def surplus_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scheduled runs that are due, but for the latest of each deployment."""
    due: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["state_type"] == "SCHEDULED" and run["auto_scheduled"] and run["deployment_id"]:
            due[run["deployment_id"]].append(run)
    return [
        run
        for waiting in due.values()
        for run in sorted(waiting, key=lambda r: str(r["expected_start_time"]))[:-1]
    ]


def _attended(run: dict[str, Any]) -> bool:
    pid = str(run.get("infrastructure_pid") or "").rpartition(":")[2]
    if not pid.isdigit():
        began = datetime.fromisoformat(run["state"]["timestamp"].replace("Z", "+00:00"))
        return bool(pid) or datetime.now(UTC) - began < STARTING
    try:
        return bool(psutil.Process(int(pid)).environ().get(RUN_ID) == run["id"])
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _set(api: str, run: dict[str, Any], state: str, why: str) -> None:
    httpx.post(
        f"{api}/flow_runs/{run['id']}/set_state",
        json={"state": {"type": state, "message": why}, "force": state == "CRASHED"},
        timeout=PATIENCE,
        trust_env=False,
    ).raise_for_status()
