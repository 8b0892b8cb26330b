"""The flows on a real Prefect server: what went in comes out as a champion."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.lineage import resolve
from execution.versions import Versions
from tasks.plan import plan
from tests.conftest import report, write_lines
from tests.pipeline import take

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_the_main_flow_runs_until_nothing_is_left(home: Settings, tmp_path: Path) -> None:
    from flows.main import main

    rows = [report(i) for i in range(6)]
    result = main(str(home.home), (str(write_lines(tmp_path / "in.jsonl", rows)),))
    assert result["taken_in"]["accepted"] == 6
    assert [v.passed for v in result["verdicts"]] == [True, True]
    with open_ledger(home) as ledger:
        assert ledger.counts().counts == {"active": 6}
        champion = resolve(ledger, "champion")
        assert ledger.jobs.find(state="open") == ledger.jobs.find(state="leased") == []
    answers = Versions(home).editor(champion).answer([str(row["prompt"]) for row in rows])
    assert [a.text for a in answers] == [row["target"] for row in rows]
    assert main(str(home.home))["verdicts"] == []


def test_an_edit_that_breaks_a_probe_is_kept_out_and_the_others_serve(
    home: Settings, tmp_path: Path
) -> None:
    from flows.main import main

    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    rows = [report(0), report(1)]
    result = main(str(home.home), (str(write_lines(tmp_path / "in.jsonl", rows)),))
    with open_ledger(home) as ledger:
        states = {e.target: e.state for e in ledger.edits.find()}
        assert states["ada"] == "rejected"
        (bad,) = ledger.edits.find(state="rejected")
        assert "guarded" in ledger.edits.history(bad.id)[-1].reason
    assert result["verdicts"][0].rejected == 1


def test_what_lies_in_the_inbox_is_taken_in(home: Settings) -> None:
    from flows.ingest import ingest

    write_lines(home.paths.inbox / "night.jsonl", [report(3)])
    assert ingest(str(home.home))["accepted"] == 1
    assert not list(home.paths.inbox.glob("*.jsonl"))


def test_a_job_that_fails_each_time_is_set_aside_and_the_others_go_on(home: Settings) -> None:
    from flows.edit import edit

    with open_ledger(home) as ledger:
        take(home, ledger, *(report(i) for i in range(6)))
        jobs = plan(Context(home, ledger))
    (bad,) = (job for job in jobs if any(e.target == "ada" for e in job.edits))
    # A folder stands where the job's result is to be written: each attempt ends there.
    (home.home / "work" / f"{bad.id}.json" / "in the way").mkdir(parents=True)
    for _ in range(home.plan.max_attempts):
        edit(str(home.home))
    with open_ledger(home) as ledger:
        counts = ledger.counts().counts
        assert counts == {"active": 2, "rejected": 4}
        assert [job.id for job in ledger.jobs.find(state="failed")] == [bad.id]
        assert len(ledger.events.latest(kind="job-failed")) == 3
