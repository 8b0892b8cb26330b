"""A day of a deployment, its schedules shortened to seconds: memory stays, counts add up.

    melo bench day --runs 100

Reports arrive all the time: new ones, one that was there before, one line that can't be used. Edit
runs come by schedule and by trigger, between them audits and compactions. Memory of each service is
read at the end of every edit run; flat means that the median of the last quarter of the readings is
at most a tenth above that of the second quarter, the first being left to caches that fill.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.deployment import Deployment, deployed, until
from benchmarks.tiny import make_backbone, make_home, put, reports, subjects
from deployment.flow_runs import orphaned, unfinished

SERVICES = ("cpu", "gpu-1", "prefect", "mlflow", "inbox", "supervisor")
FLAT = 1.10
PATIENCE = 900.0  # seconds without an edit run that ends
QUICK = {
    "MELO_CRON_INGEST": "* * * * * */15",
    "MELO_CRON_EDIT": "* * * * * */10",
    "MELO_CRON_AUDIT": "*/10 * * * *",
    "MELO_CRON_COMPACT": "*/15 * * * *",
}


def bench(runs: int = 100, say: Callable[[str], None] = print) -> dict[str, Any]:
    """The record that `melo bench day` prints."""
    names = subjects(6 * runs + 40)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        backbone = make_backbone(Path(scratch, "backbone"), names)
        settings = make_home(Path(scratch, "home"), backbone)
        with deployed(settings, environment=QUICK) as deployment:
            began = time.monotonic()
            lines, memory = _feed_reports(deployment, runs, names, say)
            quiet = until(lambda: _quiet(deployment, lines), patience=PATIENCE, every=2)
            seconds = time.monotonic() - began
            return _record(deployment, lines, memory, seconds, bool(quiet))


def _feed_reports(
    deployment: Deployment, runs: int, names: list[str], say: Callable[[str], None]
) -> tuple[int, list[dict[str, int]]]:
    """Put reports in until enough edit runs have ended; the number of lines, and memory readings."""
    unsent, sent = iter(names), [names[-1]]
    memory: list[dict[str, int]] = []
    lines, last = 0, time.monotonic()
    while len(memory) < runs and time.monotonic() - last < PATIENCE:
        if not list(deployment.settings.paths.inbox.glob("*.jsonl")):
            fresh = [name for _ in range(2) if (name := next(unsent, None))]
            rows = reports([*fresh, sent[-1]])
            sent += fresh
            lines += put(deployment.settings, f"hour-{lines}", rows, ["no report"])
        ended = sum(run["state_type"] == "COMPLETED" for run in deployment.runs("edit"))
        if ended > len(memory):
            read = {name: deployment.memory(name) for name in SERVICES}
            memory += [read] * (ended - len(memory))
            last = time.monotonic()
            say(f"{ended} edit runs, {lines} lines, {deployment.ledger.counts().counts}")
        time.sleep(3)
    return lines, memory


def _quiet(deployment: Deployment, lines: int) -> bool:
    counts = deployment.ledger.counts()
    waiting = {"received", "ready", "planned", "trained"} & set(counts.counts)
    return counts.lines == lines and not waiting


def _record(
    deployment: Deployment, lines: int, memory: list[dict[str, int]], seconds: float, quiet: bool
) -> dict[str, Any]:
    counts = deployment.ledger.counts()
    states: dict[str, int] = {}
    for run in deployment.runs():
        states[run["state_type"].lower()] = states.get(run["state_type"].lower(), 0) + 1
    orphans = orphaned(unfinished(deployment.api))
    growth = {name: _growth([read[name] for read in memory]) for name in SERVICES}
    problems = deployment.ledger.audit()
    return {
        "edit_runs": len(memory),
        "seconds": round(seconds, 1),
        "lines": lines,
        "on_record": counts.lines,
        "counts": counts.counts,
        "versions": counts.versions,
        "runs": states,
        "orphaned": len(orphans),
        "audit": problems,
        "memory_mib": {
            name: [round(memory[at][name] / 2**20, 1) for at in _quarters(len(memory))]
            for name in SERVICES
        },
        "growth": growth,
        "flat": all(g is not None and g <= FLAT for g in growth.values()),
        "adds_up": quiet and sum(counts.counts.values()) == counts.lines == lines and not problems,
    }


def _growth(readings: list[int]) -> float | None:
    """Median of the last quarter over that of the second; None for too few readings."""
    quarter = len(readings) // 4
    if quarter == 0:
        return None
    second_quarter, last_quarter = readings[quarter : 2 * quarter], readings[-quarter:]
    return round(statistics.median(last_quarter) / max(statistics.median(second_quarter), 1), 3)


def _quarters(count: int) -> list[int]:
    return sorted({0, count // 4, count // 2, 3 * count // 4, count - 1}) if count else []
