"""What a run costs beyond training and generating, with few edits and with many.

    melo bench overhead

Each run is `melo run` in a process of its own and a home of its own: from the start of the process
through Prefect's server, ingestion, the ledger, keys, the gate's books, MLflow and promotion, to its
end. What `Editor` spends in training and in generating is timed inside and taken off.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.deployment import PROJECT, clean_environment
from benchmarks.tiny import make_backbone, make_home, reports, subjects, write_lines
from ledger import Ledger

AT_MOST, GROWING = 45.0, 10.0  # seconds
TIMED = ("training", "generating")


def bench(few: int = 1, many: int = 500, say: Callable[[str], None] = print) -> dict[str, Any]:
    """The record that `melo bench overhead` prints."""
    names = subjects(many)
    with tempfile.TemporaryDirectory() as scratch:
        backbone = make_backbone(Path(scratch, "backbone"), names)
        rows = []
        for count in (few, many):
            say(f"a run with {count} edits")
            rows.append(_run(Path(scratch, f"home-{count}"), backbone, names[:count]))
            say(f"  {rows[-1]}")
    grown = round(rows[1]["overhead"] - rows[0]["overhead"], 2)
    most = max(row["overhead"] for row in rows)
    return {
        "runs": rows,
        "grown": grown,
        "targets": {"at_most": AT_MOST, "growing_by_less_than": GROWING},
        "met": most <= AT_MOST and grown < GROWING,
    }


def _run(home: Path, backbone: Path, names: list[str]) -> dict[str, Any]:
    settings = make_home(home, backbone, edits=max(len(names), 1))
    path = write_lines(home / "reports.jsonl", reports(names))
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead", str(home), str(path)],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"the run failed: {done.stderr[-1000:]}")
    spent = json.loads(done.stdout.splitlines()[-1])
    counts = Ledger.open(settings.paths.ledger).counts()
    return {
        "edits": len(names),
        "active": counts.counts.get("active", 0),
        "versions": counts.versions,
        "wall": round(wall, 2),
        "training": round(spent["training"], 2),
        "generating": round(spent["generating"], 2),
        "overhead": round(wall - spent["training"] - spent["generating"], 2),
    }


def timed(spent: dict[str, float]) -> None:
    """Add up the seconds that go into training and into generating, each second once."""
    from melo_engine import Editor
    from melo_engine.teaching import Teacher

    inside = threading.local()

    def watch(owner: type, name: str, what: str) -> None:
        method = getattr(owner, name)

        @wraps(method)
        def watched(*arguments: Any, **options: Any) -> Any:
            if getattr(inside, "busy", False):  # generating within training is training
                return method(*arguments, **options)
            inside.busy, began = True, time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                inside.busy = False
                spent[what] += time.perf_counter() - began

        setattr(owner, name, watched)

    watch(Teacher, "teach", "training")
    watch(Editor, "answer", "generating")


def work(home: str, path: str) -> None:
    """One run in this process; prints what it spent, as JSON."""
    from config import load
    from deployment.main_run import run_main

    spent = dict.fromkeys(TIMED, 0.0)
    timed(spent)
    run_main(load(home), (path,), quiet=True)
    print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    work(*sys.argv[1:3])
