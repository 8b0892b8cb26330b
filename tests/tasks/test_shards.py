"""A job cut into shards is the same version, whoever trains them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config import Settings, load
from execution.context import Context, open_ledger
from execution.leases import JobRef, held, lease
from execution.spreading import read_plan
from execution.versions import Versions
from ledger import Decision, Ledger
from tasks.edit import edit_job
from tasks.edit.shards import cut, train_shard, trained_shard
from tasks.ingest import rules_from
from tasks.judge import judge
from tasks.plan import plan
from tasks.review import decide
from tests.conftest import report
from tests.pipeline import take

WORKER = """
import sys
from config import load
from execution.spreading import read_plan
from tasks.edit.shards import train_shard
from execution.context import Context
settings = load(sys.argv[1])
plan = read_plan(settings, sys.argv[2])
for number in range(int(sys.argv[3]), len(plan.shards), 2):
    train_shard(Context(settings), plan, number)
"""


@pytest.fixture
def home(home: Settings) -> Settings:
    with (home.home / "melo.toml").open("a", encoding="utf-8") as file:
        file.write("\n[workers]\nshard_edits = 2\n")
    text = (home.home / "melo.toml").read_text()
    text = text.replace("max_edits_per_job = 4", "max_edits_per_job = 7")
    (home.home / "melo.toml").write_text(text, encoding="utf-8")
    return load(home.home)


def leased(home: Settings, ledger: Ledger) -> JobRef:
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None
    return ref


def test_two_workers_make_the_version_that_one_makes(home: Settings, tmp_path: Path) -> None:
    ledger = open_ledger(home)
    take(home, ledger, *(report(i) for i in range(7)))
    job = leased(home, ledger)
    other = tmp_path / "other"
    shutil.copytree(home.home, other)

    alone = edit_job(Context(load(other)), job)
    assert cut(Context(home, ledger), held(ledger, job)) is not None
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(home.home), job.id, str(share)],
            cwd=Path(__file__).parents[2],
        )
        for share in range(2)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    cutting = read_plan(home, job.id)
    assert cutting is not None
    assert all(trained_shard(Context(home, ledger), cutting, n) is not None for n in range(4))
    together = edit_job(Context(home, ledger), job)

    assert together.candidate == alone.candidate
    assert len(Versions(home).open(together.candidate)) == 7
    verdict = judge(Context(home, ledger), job, together)
    assert verdict.passed, verdict.reason
    assert not list((home.home / "work").glob(f"{job.id}*"))


def test_a_shard_that_nobody_brought_is_trained_by_whoever_merges(home: Settings) -> None:
    ledger = open_ledger(home)
    take(home, ledger, *(report(i) for i in range(5)))
    job = leased(home, ledger)
    cutting = cut(Context(home, ledger), held(ledger, job))
    assert cutting is not None
    brought = train_shard(Context(home, ledger), cutting, 1)
    assert len(brought.version) == 2
    version = Versions(home).open(edit_job(Context(home, ledger), job).candidate)
    assert len(version) == 5
    assert set(brought.version.edits) < set(version.edits)


def test_of_two_edits_in_different_shards_that_contradict_each_other_one_waits_for_a_person(
    home: Settings,
) -> None:
    ledger = open_ledger(home)
    take(home, ledger, *(report(i) for i in range(3)))
    take(home, ledger, report(0, "sol", prompt="who leads velandor now ?"))
    edits = {edit.target: edit for edit in ledger.edits.find(state="ready")}
    if len(edits) < 4:
        pytest.fail("the ledger settled it already; the test needs another wording")
    job = leased(home, ledger)
    result = edit_job(Context(home, ledger), job)
    both = {edits["ada"].id, edits["sol"].id}
    (waiting,) = result.held
    assert waiting in both
    assert both - {waiting} < set(Versions(home).open(result.candidate).edits)
    verdict = judge(Context(home, ledger), job, result)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 3, 0)
    (asked,) = ledger.review.waiting()
    assert (asked.id, asked.hold) == (waiting, "contradiction")
    assert "no rule decides" in ledger.edits.history(waiting)[-1].reason

    ledger.review.approve([waiting], actor="bob", reason="it is newer", rules=rules_from(home))
    (kept,) = both - {waiting}
    noted = ledger.conflicts.find(edit_id=waiting)
    assert {(c.winner, c.loser) for c in noted} == {(None, waiting), (waiting, kept)}


def test_two_that_a_person_found_both_right_are_trained_together(home: Settings) -> None:
    ledger = open_ledger(home)
    take(home, ledger, report(0), report(0, "sol", prompt="who leads velandor now ?"))
    job = leased(home, ledger)
    result = edit_job(Context(home, ledger), job)
    assert judge(Context(home, ledger), job, result).passed
    (waiting,) = result.held
    (kept,) = {edit.id for edit in ledger.edits.find()} - {waiting}
    decide(Context(home, ledger), Decision("both", waiting, "two posts", kept), actor="bob")
    assert edit_job(Context(home, ledger), leased(home, ledger)).held == {}


def test_where_only_shared_wordings_make_one_question_both_answers_serve(home: Settings) -> None:
    home.contradictions.same_subject = "never"
    ledger = open_ledger(home)
    take(home, ledger, report(0), report(0, "sol", prompt="who leads velandor now ?"))
    result = edit_job(Context(home, ledger), leased(home, ledger))
    assert (result.held, len(Versions(home).open(result.candidate))) == ({}, 2)


def test_a_job_that_fits_into_one_shard_is_not_cut(home: Settings) -> None:
    ledger = open_ledger(home)
    take(home, ledger, report(0), report(1))
    assert cut(Context(home, ledger), held(ledger, leased(home, ledger))) is None
