from __future__ import annotations

from pathlib import Path

from config import load
from execution.context import Context
from tasks.ingest import ingest_paths, rules_from
from tasks.plan import plan
from tests.tasks.ingest_support import ROWS, lines_of, opened


def test_planning_retires_lets_in_and_fills_jobs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger, _ = opened(home)
    (home / "melo.toml").write_text(
        "[plan]\nmax_edits_per_job = 4\n[default_source]\nmax_per_hour = 5\n"
    )
    settings = load(home)
    over: dict[str, object] = {"prompt": "x?", "target": "y", "valid_to": "2001-01-01"}
    (tmp_path / "a.jsonl").write_bytes(lines_of([*ROWS, over]))
    ingest_paths(Context(settings, ledger), [tmp_path / "a.jsonl"])
    jobs = plan(Context(settings, ledger))
    assert sorted(len(job.edits) for job in jobs) == [1, 4]
    assert ledger.counts().counts == {"expired": 1, "held": 2, "planned": 5}
    (home / "melo.toml").write_text("")
    waiting = [edit.id for edit in ledger.review.waiting()]
    ledger.review.approve(waiting, actor="a", reason="b", rules=rules_from(load(home)))
    assert [len(job.edits) for job in plan(Context(load(home), ledger))] == [2]
