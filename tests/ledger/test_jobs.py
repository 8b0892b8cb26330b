from __future__ import annotations

import pytest

from ledger import JobOutcome, LeaseLost, Ledger, UnknownId
from tests.ledger.support import NOON, by_target, later, report, run_job, state_of, take


def test_jobs_hold_at_most_so_many_edits_and_all_of_them(ledger: Ledger) -> None:
    take(ledger, [report(f"q{n}?") for n in range(23)])
    jobs = ledger.jobs.plan(max_edits=10, now=NOON)
    assert sorted(len(job.edits) for job in jobs) == [3, 10, 10]
    assert len({edit.id for job in jobs for edit in job.edits}) == 23
    assert ledger.jobs.plan(max_edits=10, now=NOON) == []


def test_edits_about_one_subject_stay_together(ledger: Ledger) -> None:
    rows = [report(f"q{n} about subject {n % 4}?", subject=f"subject {n % 4}") for n in range(12)]
    take(ledger, rows)
    jobs = ledger.jobs.plan(max_edits=4, now=NOON)
    subjects = [{edit.subject for edit in job.edits} for job in jobs]
    assert all(len(subject) == 1 for subject in subjects)


def test_the_urgent_come_first_then_the_often_reported_then_the_old(ledger: Ledger) -> None:
    take(ledger, [report("old?", "old")])
    take(
        ledger,
        [report("new?", "new"), report("urgent?", "urgent", urgent=True)],
        now=later(hours=5),
    )
    take(ledger, [report("often?", "often")] * 4, now=later(hours=5))
    jobs = ledger.jobs.plan(max_edits=1, now=later(hours=6))
    leased = [ledger.jobs.lease("w", now=later(hours=6)) for _ in jobs]
    assert [job.edits[0].target for job in leased if job] == ["urgent", "often", "old", "new"]


def test_jobs_that_are_as_pressing_are_leased_as_they_were_planned(ledger: Ledger) -> None:
    take(ledger, [report(f"q{n}?") for n in range(7)])
    planned = ledger.jobs.plan(max_edits=1, now=NOON)
    leased = [ledger.jobs.lease("w", now=later()) for _ in planned]
    assert [job.id for job in leased if job] == [job.id for job in planned]
    assert [job.id for job in ledger.jobs.find()] == [job.id for job in planned]


def test_a_job_is_leased_by_one_worker_only(ledger: Ledger) -> None:
    take(ledger, [report("q?")])
    ledger.jobs.plan(now=NOON)
    assert ledger.jobs.lease("one", now=NOON) is not None
    assert ledger.jobs.lease("two", now=NOON) is None


def test_a_dead_workers_job_is_taken_up_and_its_late_result_refused(ledger: Ledger) -> None:
    take(ledger, [report("q?")])
    ledger.jobs.plan(now=NOON)
    first = ledger.jobs.lease("one", lease_seconds=60, now=NOON)
    assert first is not None
    assert ledger.jobs.lease("two", now=later(seconds=59)) is None
    second = ledger.jobs.lease("two", now=later(seconds=61))
    assert second is not None
    assert (second.id, second.attempt) == (first.id, 2)
    for act in (
        lambda: ledger.jobs.heartbeat(first),
        lambda: ledger.jobs.finish(first, JobOutcome()),
        lambda: ledger.jobs.fail(first, "late"),
    ):
        with pytest.raises(LeaseLost):
            act()
    ledger.jobs.finish(second, JobOutcome(trained=[second.edits[0].id]), now=later(seconds=62))


def test_the_same_worker_restarted_can_not_finish_its_former_lease(ledger: Ledger) -> None:
    take(ledger, [report("q?")])
    ledger.jobs.plan(now=NOON)
    first = ledger.jobs.lease("one", lease_seconds=60, now=NOON)
    second = ledger.jobs.lease("one", now=later(seconds=61))
    assert first is not None
    assert second is not None
    with pytest.raises(LeaseLost, match="attempt 2"):
        ledger.jobs.finish(first, JobOutcome())


def test_a_heartbeat_keeps_a_lease(ledger: Ledger) -> None:
    take(ledger, [report("q?")])
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("one", lease_seconds=60, now=NOON)
    assert job is not None
    ledger.jobs.heartbeat(job, lease_seconds=60, now=later(seconds=50))
    assert ledger.jobs.lease("two", now=later(seconds=70)) is None


def test_a_job_that_fails_too_often_rejects_its_edits_with_the_reason(ledger: Ledger) -> None:
    take(ledger, [report("q?", "x")])
    ledger.jobs.plan(now=NOON)
    for attempt in (1, 2, 3):
        job = ledger.jobs.lease("w", now=NOON)
        assert job is not None
        assert ledger.jobs.fail(job, "loss is NaN", now=NOON) is (attempt < 3)
    assert ledger.jobs.lease("w", now=NOON) is None
    assert ledger.edits.history(job.edits[0].id)[-1].reason == "job failed: loss is NaN"
    assert state_of(ledger, "x") == "rejected"


def test_a_job_whose_workers_all_die_is_given_up(ledger: Ledger) -> None:
    take(ledger, [report("q?", "x")])
    ledger.jobs.plan(now=NOON)
    for hour in range(9):  # a death weighs a third of a failure
        assert ledger.jobs.lease("w", lease_seconds=60, now=later(hours=hour)) is not None
    assert ledger.jobs.lease("w", now=later(hours=10)) is None
    assert state_of(ledger, "x") == "rejected"
    assert ledger.jobs.find(state="failed")[0].error is not None


def test_deaths_of_workers_do_not_use_up_the_tries_of_a_job(ledger: Ledger) -> None:
    take(ledger, [report("q?", "x")])
    ledger.jobs.plan(now=NOON)
    for hour in range(4):
        assert ledger.jobs.lease("w", lease_seconds=60, now=later(hours=hour)) is not None
    for attempt in (1, 2, 3):
        job = ledger.jobs.lease("w", now=later(hours=5))
        assert job is not None
        assert ledger.jobs.fail(job, "no memory is left", doubtful=True) is True
        job = ledger.jobs.lease("w", now=later(hours=5))
        assert job is not None
        assert ledger.jobs.fail(job, "loss is NaN") is (attempt < 3)
    assert state_of(ledger, "x") == "rejected"


def test_a_worker_can_leave_jobs_to_others(ledger: Ledger) -> None:
    take(ledger, [report("a?"), report("b?")])
    one, other = ledger.jobs.plan(max_edits=1, now=NOON)
    job = ledger.jobs.lease("w", but=[one.id], now=NOON)
    assert job is not None
    assert job.id == other.id
    assert ledger.jobs.lease("w", but=[one.id], now=NOON) is None


def test_edits_that_a_finished_job_does_not_name_are_ready_again(ledger: Ledger) -> None:
    take(ledger, [report("a?", "done"), report("b?", "left"), report("c?", "bad")])
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("w", now=NOON)
    assert job is not None
    ids = {edit.target: edit.id for edit in job.edits}
    ledger.jobs.finish(
        job, JobOutcome(trained=[ids["done"]], rejected={ids["bad"]: "loops"}), now=NOON
    )
    states = {target: state_of(ledger, target) for target in ("done", "left", "bad")}
    assert states == {"done": "trained", "left": "ready", "bad": "rejected"}


def test_an_edit_that_was_withdrawn_meanwhile_stays_so_and_the_others_go_on(
    ledger: Ledger,
) -> None:
    take(ledger, [report("a?", "kept"), report("b?", "gone"), report("c?", "ended")])
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("w", now=NOON)
    assert job is not None
    ids = {edit.target: edit.id for edit in job.edits}
    ledger.removals.request([ids["gone"], ids["ended"]], actor="bob", reason="invented", now=NOON)
    ledger.jobs.finish(
        job,
        JobOutcome(trained=[ids["kept"], ids["gone"]], rejected={ids["ended"]: "loops"}),
        now=NOON,
    )
    states = {target: state_of(ledger, target) for target in ("kept", "gone", "ended")}
    assert states == {"kept": "trained", "gone": "revoked", "ended": "revoked"}


def test_an_unknown_job_is_told_as_such(ledger: Ledger) -> None:
    with pytest.raises(UnknownId, match="no job"):
        ledger.jobs.get("nope")


def served(ledger: Ledger, *targets: str) -> list[str]:
    """Edits that are active, one for each answer; their ids."""
    take(ledger, [report(f"{target}?", target) for target in targets])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    return [by_target(ledger)[target].id for target in targets]


def test_a_removal_is_planned_anew_once_its_job_ended_without_it(ledger: Ledger) -> None:
    (edit,) = served(ledger, "x")
    ledger.removals.request([edit], actor="ann", reason="wrong")
    for _ in range(2):
        (job,) = ledger.jobs.plan(now=NOON)
        assert job.removals == (edit,)
        assert ledger.removals.plan_anew() == 0
        taken = ledger.jobs.lease("w", now=NOON)
        assert taken is not None
        ledger.jobs.finish(taken, JobOutcome(), now=NOON)
        assert ledger.jobs.plan(now=NOON) == []
        assert ledger.removals.plan_anew() == 1


def test_a_removal_whose_job_is_given_up_is_not_planned_before_it_is_freed(ledger: Ledger) -> None:
    (edit,) = served(ledger, "x")
    ledger.removals.request([edit], actor="ann", reason="wrong")
    ledger.jobs.plan(now=NOON)
    taken = ledger.jobs.lease("w", now=NOON)
    assert taken is not None
    assert not ledger.jobs.fail(taken, "broken", max_attempts=1, now=NOON)
    assert ledger.jobs.plan(now=NOON) == []
    assert ledger.removals.plan_anew() == 1
    assert ledger.jobs.plan(now=NOON)[0].removals == (edit,)


def test_a_removal_stays_with_a_version_that_waits_for_promotion(ledger: Ledger) -> None:
    (edit,) = served(ledger, "x")
    ledger.removals.request([edit], actor="ann", reason="wrong")
    ledger.jobs.plan(now=NOON)
    taken = ledger.jobs.lease("w", now=NOON)
    assert taken is not None
    ledger.jobs.finish(taken, JobOutcome(version="v2"), now=NOON)
    assert ledger.removals.versions() == ["v2"]
    assert ledger.removals.plan_anew(waiting=["v2"]) == 0
    assert ledger.removals.plan_anew() == 1


def test_an_edit_that_was_asked_to_go_ends_as_was_asked(ledger: Ledger) -> None:
    over, wrong, kept = served(ledger, "over", "wrong", "kept")
    ledger.removals.request([over], to="expired", actor="calendar", reason="it is over")
    ledger.removals.request([wrong], actor="ann", reason="it is wrong")
    ended = ledger.removals.carry_out([over, wrong, kept], "v9", actor="ann")
    assert sorted(ended) == sorted([over, wrong])
    states = {target: state_of(ledger, target) for target in ("over", "wrong", "kept")}
    assert states == {"over": "expired", "wrong": "revoked", "kept": "active"}
    assert ledger.edits.history(over)[-1].reason == "it is over"
    assert ledger.jobs.plan(now=NOON) == []
