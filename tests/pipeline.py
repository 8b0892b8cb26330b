"""The steps of one job in a row, without Prefect, for tests of what comes after them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from config import Settings
from execution.context import Context
from execution.leases import lease
from ledger import Ledger
from tasks.edit import edit_job
from tasks.ingest import ingest_paths
from tasks.judge import Verdict, judge
from tasks.plan import plan
from tasks.register.promote import advance
from tests.conftest import write_lines


def take(settings: Settings, ledger: Ledger, *rows: dict[str, object]) -> None:
    """Take reports in."""
    number = len(list(Path(settings.home).glob("given-*.jsonl")))
    path = write_lines(Path(settings.home) / f"given-{number}.jsonl", list(rows))
    ingest_paths(Context(settings, ledger), [path])


def judged(settings: Settings, ledger: Ledger) -> Verdict:
    """Plan, train and gate one job."""
    context = Context(settings, ledger)
    plan(context)
    ref = lease(context)
    assert ref is not None
    return judge(context, ref, edit_job(context, ref))


def promoted(settings: Settings, ledger: Ledger) -> str:
    """One job to its end; the new champion."""
    verdict = judged(settings, ledger)
    assert verdict.version is not None, verdict.reason
    assert verdict.passed, verdict.reason
    done = advance(Context(settings, ledger), verdict.version, actor="test")
    assert done is not None
    return verdict.version


def dies(script: str, *arguments: object) -> None:
    """Run a script in a process of its own, which kills itself."""
    died = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -9, died.stderr[-2000:]
