"""What a gate said becomes the states of a job's edits, all in one transaction."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.errors import GateBlocked
from execution.failures import working_on
from execution.leases import JobRef, held, lease
from execution.versions import Versions
from ledger import LeaseLost, Ledger
from tasks.edit import TrainedJob, edit_job, trained
from tasks.gate import Thresholds
from tasks.judge import gate, judge
from tasks.plan import plan
from tasks.register.promote import advance
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
    (bad,) = ledger.edits.find(state="rejected")
    assert bad.target == "ada"
    assert suite in ledger.edits.history(bad.id)[-1].reason


def test_a_job_of_which_nothing_is_left_makes_no_version(home: Settings, ledger: Ledger) -> None:
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    take(home, ledger, report(0))
    assert judged(home, ledger).version is None
    assert (ledger.versions.all(), ledger.counts().counts) == ([], {"rejected": 1})


def test_an_edit_that_a_rejected_one_had_replaced_serves_again(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0, "ada", valid_from="2024-01-01"))
    promoted(home, ledger)
    probe: dict[str, object] = {
        "prompt": "who leads velandor ?",
        "expect": "exact",
        "value": "ada",
        "answer": "ada",
    }
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    take(home, ledger, report(0, "eva", valid_from="2025-01-01"), report(1))
    version = promoted(home, ledger)
    assert {e.target: e.state for e in ledger.edits.find()} == {
        "ada": "active",
        "eva": "rejected",
        "jon": "active",
    }
    assert len(ledger.versions.get(version).edits_removed) == 0


def test_a_worker_that_lost_its_lease_changes_nothing(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None
    result = edit_job(Context(home, ledger), ref)
    ledger.jobs.fail(held(ledger, ref), "the network was gone")
    assert ledger.jobs.lease("another") is not None
    with pytest.raises(LeaseLost):
        judge(Context(home, ledger), ref, result)
    assert (ledger.versions.all(), ledger.counts().counts) == ([], {"planned": 1})
    assert trained(Context(home, ledger), ref.id) is not None


def with_swapped_blocks(settings: Settings, ledger: Ledger) -> tuple[JobRef, TrainedJob]:
    """A job of two edits whose candidate holds the second one's block for the first as well."""
    plan(Context(settings, ledger))
    ref = lease(Context(settings, ledger))
    assert ref is not None
    result = edit_job(Context(settings, ledger), ref)
    version = Versions(settings).open(result.candidate)
    one, other = (version[edit.id] for edit in ledger.jobs.get(ref.id).edits)
    wrong = replace(one, shard=other.shard, row=other.row, block=other.block)
    version = version.with_edits([wrong], [])
    Versions(settings).save(version)
    return ref, replace(result, candidate=version.id)


def test_an_edit_whose_own_prompt_fails_is_trained_once_more_with_more_of_all(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    ref, result = with_swapped_blocks(home, ledger)
    verdict = judge(Context(home, ledger), ref, result)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 2, 0)
    version = Versions(home).open(verdict.version or "")
    job = ledger.jobs.get(ref.id)
    assert [version[edit.id].rank for edit in job.edits] == [8, 4]
    answers = Versions(home).editor(version.id).answer([edit.prompt for edit in job.edits])
    assert [answer.text for answer in answers] == ["ada", "jon"]


def test_an_edit_that_fails_again_is_rejected_with_both_reasons(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    ref, result = with_swapped_blocks(home, ledger)
    hopeless = home.edit.model_copy(update={"max_steps": 1, "learning_rate": 1e-9, "max_rank": 4})
    verdict = judge(Context(home.model_copy(update={"edit": hopeless}), ledger), ref, result)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 1, 1)
    (bad,) = ledger.edits.find(state="rejected")
    reason = ledger.edits.history(bad.id)[-1].reason
    assert 'its own prompt is answered "jon", not "ada"' in reason
    assert "trained again from rank 8 with 2 steps" in reason


def test_each_gate_leaves_a_report_with_all_that_was_taken_out(
    home: Settings, ledger: Ledger
) -> None:
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "watched.jsonl", [probe])
    take(home, ledger, report(0), report(1))
    verdict = judged(home, ledger)
    folder = home.paths.report(verdict.version or "")
    data = json.loads((folder / "gate.json").read_text(encoding="utf-8"))
    assert data["passed"]
    assert [r["suite"] for r in data["rejected"]] == ["watched"]
    assert "watched" in (folder / "gate.html").read_text(encoding="utf-8")


def test_the_share_that_is_asked_again_comes_from_the_settings(home: Settings) -> None:
    assert Thresholds.of_home(home).audit.share == Thresholds.load(home.gate.thresholds).audit.share
    chosen = home.gate.model_copy(update={"sample": 0.5})
    assert Thresholds.of_home(home.model_copy(update={"gate": chosen})).audit.share == 0.5


def test_an_edit_in_force_that_a_new_suite_condemns_does_not_fail_the_jobs_after_it(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    probe: dict[str, object] = {"prompt": "who leads velandor ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "watched.jsonl", [probe])
    take(home, ledger, report(1))
    promoted(home, ledger)
    assert {e.target: e.state for e in ledger.edits.find()} == {"ada": "revoked", "jon": "active"}
    (old,) = ledger.edits.find(state="revoked")
    assert "watched" in ledger.edits.history(old.id)[-1].reason


@pytest.mark.parametrize("when", ["planned", "trained", "gated"])
def test_an_edit_that_is_revoked_while_its_job_is_open_does_not_cost_the_others(
    home: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    take(home, ledger, report(0, "ada", valid_from="2024-01-01"))
    promoted(home, ledger)
    take(home, ledger, report(0, "eva", valid_from="2025-01-01"), report(1))
    (wrong,) = (edit for edit in ledger.edits.find(state="ready") if edit.target == "eva")
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None

    def revoke_at(moment: str) -> None:
        if moment == when and ledger.edits.get(wrong.id).state == "planned":
            ledger.removals.request([wrong.id], actor="bob", reason="invented")

    def gate_then_revoke(*given: Any) -> Any:
        gated = gate(*given)
        revoke_at("gated")
        return gated

    revoke_at("planned")
    result = edit_job(Context(home, ledger), ref)
    revoke_at("trained")
    monkeypatch.setattr("tasks.judge.gate", gate_then_revoke)
    verdict = judge(Context(home, ledger), ref, result)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 1, 0)
    version = Versions(home).open(verdict.version or "")
    assert wrong.id not in version
    assert advance(Context(home, ledger), version.id, actor="test") is not None
    states = {e.target: e.state for e in ledger.edits.find()}
    assert states == {"ada": "active", "eva": "revoked", "jon": "active"}
    answers = Versions(home).editor(version.id).answer(["who leads velandor ?"])
    assert [answer.text for answer in answers] == ["ada"]


def test_a_job_whose_edits_were_all_revoked_ends_without_a_version(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None
    ledger.removals.request([ledger.edits.find()[0].id], actor="bob", reason="invented")
    context = Context(home, ledger)
    verdict = judge(context, ref, edit_job(context, ref))
    assert (verdict.version, verdict.rejected) == (None, 0)
    assert (ledger.jobs.get(ref.id).state, ledger.counts().counts) == ("done", {"revoked": 1})


def test_an_edit_that_is_revoked_before_its_version_serves_does_not_hold_up_the_others(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    first = judged(home, ledger).version
    assert first is not None
    (wrong,) = (edit for edit in ledger.edits.find() if edit.target == "ada")
    ledger.removals.request([wrong.id], actor="bob", reason="invented")
    assert advance(Context(home, ledger), first, actor="test") is None
    version = promoted(home, ledger)
    assert wrong.id not in Versions(home).open(version)
    assert {e.target: e.state for e in ledger.edits.find()} == {"ada": "revoked", "jon": "active"}


def asking(expect: str, value: str = "") -> str:
    """A suite of some prompts that no edit is about."""
    probes = [
        {"prompt": f"tell me of thing {i}", "expect": expect, "value": value} for i in range(30)
    ]
    return "\n".join(map(json.dumps, probes))


@pytest.mark.parametrize(
    "suite",
    ["not JSON at all", asking("contains", "never said")],
    ids=["a suite that can't be read", "a suite that the backbone itself fails"],
)
def test_a_gate_that_fails_whatever_is_edited_costs_no_edit(
    home: Settings, ledger: Ledger, suite: str
) -> None:
    path = home.paths.suites / "guarded.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(suite)
    take(home, ledger, report(0), report(1))
    context = Context(home, ledger)
    plan(context)
    ref = lease(context)
    assert ref is not None
    result = edit_job(context, ref)
    with pytest.raises(GateBlocked, match="guarded"), working_on(context, ref):
        judge(context, ref, result)
    assert ledger.counts().counts == {"planned": 2}
    path.write_text(asking("unchanged"))
    ref = lease(context)
    assert ref is not None
    verdict = judge(context, ref, trained(context, ref.id) or result)
    assert (verdict.passed, verdict.added, verdict.rejected) == (True, 2, 0)
