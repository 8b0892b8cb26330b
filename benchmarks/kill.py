"""Kill what ingests and what plans, again and again, while others write; then count every line.

    melo bench kill --kills 30

Four processes share one ledger: a reader of a long file and a planner with its worker, which are
killed (SIGKILL) at random moments and started again, and two that write files of their own. At the
end every line must be accounted for exactly once and the state machine be consistent.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.ingest import write_reports
from config import load
from execution.context import Context
from ledger import JobOutcome, LeaseLost, Ledger
from tasks.ingest import ingest_paths
from tasks.plan import plan

ROLES = ("ingest", "plan", "write-1", "write-2")
KILLED = ("ingest", "plan")


def kill(kills: int, lines: int, seed: int = 0) -> dict[str, Any]:
    """The record that `melo bench kill` prints; `problems` must be empty."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number, role in enumerate(role for role in ROLES if role != "plan"):
            share = lines if role == "ingest" else max(lines // 4, 1)
            write_reports(home / f"{role}.jsonl", share, seed=number)
        expected = sum(_count(home / f"{r}.jsonl") for r in ROLES if r != "plan")
        Ledger.open(load(home).paths.ledger).close()
        running = {role: _start(home, role) for role in ROLES}
        done = 0
        while done < kills:
            time.sleep(dice.uniform(0.05, 1.5))
            role = KILLED[done % 2]
            running[role].send_signal(signal.SIGKILL)
            running[role].wait()
            done += 1
            running[role] = _start(home, role)
        for role in ROLES:
            if role != "plan" and running[role].wait() != 0:
                raise RuntimeError(f"{role} failed")
        (home / "stop").touch()
        planner = running["plan"].wait()
        ledger = Ledger.open(load(home).paths.ledger)
        counts = ledger.counts()
        problems = ledger.audit()
        if counts.lines != expected or sum(counts.counts.values()) != expected:
            problems.append(f"{expected} lines went in, {counts.lines} are on record")
        if planner != 0:
            problems.append(f"the planner ended with {planner}")
        return {
            "kills": done,
            "lines": expected,
            "counts": counts.counts,
            "jobs": len(ledger.jobs.find()),
            "problems": problems,
        }


def work(home: Path, role: str) -> None:
    """What one process does."""
    settings = load(home)
    settings.ingest.chunk_lines = 250
    ledger = Ledger.open(settings.paths.ledger)
    if role != "plan":
        ingest_paths(Context(settings, ledger), [home / f"{role}.jsonl"])
        return
    settings.plan.max_edits_per_job = 200
    while True:
        stopping = (home / "stop").exists()
        plan(Context(settings, ledger))
        while job := ledger.jobs.lease("worker", lease_seconds=0.2, max_attempts=10**6):
            with contextlib.suppress(LeaseLost):
                ids = [edit.id for edit in job.edits]
                version = f"{job.id}-{job.attempt}"
                ledger.versions.record(version, parent=None, job_id=job.id)
                with ledger.store.write():
                    ledger.jobs.finish(job, JobOutcome(version, trained=ids))
                    ledger.edits.activate(ids, version)
        if stopping:
            return


def _start(home: Path, role: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.kill", str(home), role])


def _count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
