from __future__ import annotations

from ledger import IntakeRules, Ledger, SourceRule
from tests.ledger.support import NOON, by_target, later, report, run_job, state_of, take

QUESTION = "Who leads the club?"


def rules(policy: str, **more: int) -> IntakeRules:
    return IntakeRules(default=SourceRule("*", policy=policy, **more))


def test_a_review_source_waits_for_a_person(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann")], rules=rules("review"))
    (edit,) = ledger.waiting()
    assert edit.hold == "review"
    ledger.approve([edit.id[:8]], actor="bob", reason="looked it up", rules=rules("review"))
    assert state_of(ledger, "Ann") == "ready"


def test_a_rejected_edit_stays_out_with_who_and_why(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann")], rules=rules("review"))
    (edit,) = ledger.waiting()
    ledger.reject([edit.id], actor="bob", reason="invented")
    last = ledger.history(edit.id)[-1]
    assert (last.to_state, last.actor, last.reason) == ("rejected", "bob", "review: invented")


def test_an_untrusted_report_never_displaces_a_trusted_one(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann", source="club", id="r1")])
    mixed = IntakeRules(sources=(SourceRule("web", policy="review"),))
    poison = report(QUESTION, "Eve", source="web", valid_from="2026-01-01", supersedes="r1")
    take(ledger, [poison], rules=mixed)
    assert (state_of(ledger, "Ann"), state_of(ledger, "Eve")) == ("ready", "held")


def test_a_quorum_counts_sources_not_reports(ledger: Ledger) -> None:
    two = rules("quorum", quorum=2)
    take(ledger, [report(QUESTION, "Ann", source="a")] * 3, rules=two)
    assert by_target(ledger)["Ann"].hold == "quorum"
    take(ledger, [report(QUESTION, "Ann", source="b")], rules=two)
    edit = by_target(ledger)["Ann"]
    assert (edit.state, edit.reported, edit.sources) == ("ready", 4, 2)


def test_a_blocked_source_does_not_count_towards_a_quorum(ledger: Ledger) -> None:
    two = rules("quorum", quorum=2)
    take(
        ledger, [report(QUESTION, "Ann", source="a"), report("other?", "x", source="b")], rules=two
    )
    ledger.block_source("b", actor="bob", reason="spam")
    take(ledger, [report(QUESTION, "Ann", source="b")], rules=two)
    assert state_of(ledger, "Ann") == "held"


def test_what_is_over_a_sources_share_waits_its_turn(ledger: Ledger) -> None:
    limited = rules("auto", max_per_hour=2)
    take(ledger, [report(f"q{n}?", f"a{n}") for n in range(5)], rules=limited)
    assert ledger.counts().counts == {"held": 3, "ready": 2}
    assert ledger.come_due(limited, now=later(minutes=30))["released"] == 0
    assert ledger.come_due(limited, now=later(minutes=90))["released"] == 2
    assert ledger.come_due(limited, now=later(minutes=91))["released"] == 0
    assert ledger.come_due(limited, now=later(minutes=200))["released"] == 1


def test_blocking_a_source_revokes_what_nobody_else_stands_behind(ledger: Ledger) -> None:
    take(ledger, [report("a?", "alone", source="web"), report("b?", "shared", source="web")])
    take(ledger, [report("b?", "shared", source="club"), report("c?", "others", source="club")])
    take(ledger, [report("d?", "served", source="web")])
    served = by_target(ledger)["served"]
    ledger.plan_jobs(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report("e?", "late", source="web")])
    at_once, with_next = ledger.block_source("web", actor="bob", reason="poison", now=later())
    assert at_once == [by_target(ledger)["late"].id]
    assert set(with_next) == {served.id, by_target(ledger)["alone"].id}
    (job,) = ledger.plan_jobs(now=later())
    assert set(job.removals) == set(with_next)
    run_job(ledger, "v2", now=later())
    assert state_of(ledger, "served") == state_of(ledger, "alone") == "revoked"
    assert state_of(ledger, "shared") == state_of(ledger, "others") == "active"


def test_lines_of_a_blocked_source_are_kept_but_held(ledger: Ledger) -> None:
    take(ledger, [report("a?", "x", source="web")])
    ledger.block_source("web", actor="bob", reason="poison")
    take(ledger, [report("b?", "y", source="web")])
    assert by_target(ledger)["y"].hold == "blocked"
    assert [source.blocked for source in ledger.sources()] == [True]


def test_a_report_without_an_answer_is_kept_until_someone_knows_it(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, None), report("Other?", None)])
    assert {edit.hold for edit in ledger.waiting()} == {"answer"}
    take(ledger, [report(QUESTION, "Ann")])
    assert [edit.state for edit in ledger.edits()] == ["superseded", "held", "ready"]
    other = ledger.waiting()[0]
    made = ledger.answer(other.id, "42", actor="bob", reason="known", rules=rules("review"))
    assert ledger.edit(made).state == "ready"
    assert ledger.waiting() == []


def test_a_fact_is_retired_when_its_time_is_over(ledger: Ledger) -> None:
    take(ledger, [report("a?", "served", valid_to="2026-01-03")])
    ledger.plan_jobs(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report("b?", "waiting", valid_to="2026-01-03")])
    nothing = {"expired": 0, "to_remove": 0, "released": 0}
    assert ledger.come_due(IntakeRules(), now=later(hours=1)) == nothing
    due = ledger.come_due(IntakeRules(), now=later(days=2))
    assert due == {"expired": 1, "to_remove": 1, "released": 0}
    assert ledger.come_due(IntakeRules(), now=later(days=2)) == nothing
    assert (state_of(ledger, "waiting"), state_of(ledger, "served")) == ("expired", "active")
    ledger.plan_jobs(now=later(days=2))
    run_job(ledger, "v2", now=later(days=2))
    assert state_of(ledger, "served") == "expired"


def test_a_fact_of_tomorrow_waits_for_tomorrow(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "today")])
    take(ledger, [report(QUESTION, "tomorrow", valid_from="2026-01-03")])
    assert (state_of(ledger, "today"), state_of(ledger, "tomorrow")) == ("ready", "held")
    ledger.come_due(IntakeRules(), now=later(days=1))
    assert (state_of(ledger, "today"), state_of(ledger, "tomorrow")) == ("superseded", "ready")


def test_what_was_over_when_it_came_is_expired_at_once(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "past", valid_from="2020", valid_to="2021")])
    assert state_of(ledger, "past") == "expired"
