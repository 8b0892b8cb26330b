"""What a gate said becomes the states of a job's edits, all in one transaction."""

from __future__ import annotations

import pytest

from config import Settings
from ledger import LeaseLost, Ledger
from tasks.edit import edit_job, trained
from tasks.judge import judge
from tasks.plan import plan
from tasks.versions import open_ledger
from tasks.work import held, lease
from tests.conftest import report, write_lines
from tests.pipeline import judged, promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


@pytest.mark.parametrize("suite", ["guarded", "watched"])
def test_one_bad_edit_does_not_cost_the_others(home: Settings, ledger: Ledger, suite: str) -> None:
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / f"{suite}.jsonl", [probe])
    take(home, ledger, report(0), report(1))
    verdict = judged(home, ledger)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 1, 1)
    assert ledger.counts().counts == {"rejected": 1, "trained": 1}
    (bad,) = ledger.edits(state="rejected")
    assert bad.target == "ada"
    assert suite in ledger.history(bad.id)[-1].reason


def test_a_job_of_which_nothing_is_left_makes_no_version(home: Settings, ledger: Ledger) -> None:
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    take(home, ledger, report(0))
    assert judged(home, ledger).version is None
    assert (ledger.versions(), ledger.counts().counts) == ([], {"rejected": 1})


def test_an_edit_that_a_rejected_one_had_replaced_serves_again(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0, "ada", valid_from="2024-01-01"))
    promoted(home, ledger)
    probe: dict[str, object] = {
        "prompt": "who leads velandor ?", "expect": "exact", "value": "ada", "answer": "ada",
    }  # fmt: skip
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    take(home, ledger, report(0, "eva", valid_from="2025-01-01"), report(1))
    version = promoted(home, ledger)
    assert {e.target: e.state for e in ledger.edits()} == {
        "ada": "active", "eva": "rejected", "jon": "active",
    }  # fmt: skip
    assert len(ledger.version(version).edits_removed) == 0


def test_a_worker_that_lost_its_lease_changes_nothing(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    plan(ledger, home)
    ref = lease(home, ledger)
    assert ref is not None
    job = held(ledger, ref)
    result = edit_job(home, ledger, job)
    ledger.fail_job(job, ref.worker, "the network was gone")
    assert ledger.lease_job("another") is not None
    with pytest.raises(LeaseLost):
        judge(home, ledger, job, result)
    assert (ledger.versions(), ledger.counts().counts) == ([], {"planned": 1})
    assert trained(home, job.id) is not None
