from __future__ import annotations

from ledger import IntakeRules, Ledger, SourceRule
from tests.ledger.support import NOON, by_target, later, report, run_job, state_of, take

QUESTION = "Who leads the club?"


def rules(policy: str, **more: int) -> IntakeRules:
    return IntakeRules(default=SourceRule("*", policy=policy, **more))


def test_a_review_source_waits_for_a_person(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann")], rules=rules("review"))
    (edit,) = ledger.review.waiting()
    assert edit.hold == "review"
    ledger.review.approve([edit.id[:8]], actor="bob", reason="looked it up", rules=rules("review"))
    assert state_of(ledger, "Ann") == "ready"


def test_a_rejected_edit_stays_out_with_who_and_why(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann")], rules=rules("review"))
    (edit,) = ledger.review.waiting()
    ledger.review.reject([edit.id], actor="bob", reason="invented")
    last = ledger.edits.history(edit.id)[-1]
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
    ledger.sources.block("b", actor="bob", reason="spam")
    take(ledger, [report(QUESTION, "Ann", source="b")], rules=two)
    assert state_of(ledger, "Ann") == "held"


def test_what_is_over_a_sources_share_waits_its_turn(ledger: Ledger) -> None:
    limited = rules("auto", max_per_hour=2)
    take(ledger, [report(f"q{n}?", f"a{n}") for n in range(5)], rules=limited)
    assert ledger.counts().counts == {"held": 3, "ready": 2}
    assert ledger.review.come_due(limited, now=later(minutes=30))["released"] == 0
    assert ledger.review.come_due(limited, now=later(minutes=90))["released"] == 2
    assert ledger.review.come_due(limited, now=later(minutes=91))["released"] == 0
    assert ledger.review.come_due(limited, now=later(minutes=200))["released"] == 1


def test_blocking_a_source_revokes_what_nobody_else_stands_behind(ledger: Ledger) -> None:
    take(ledger, [report("a?", "alone", source="web"), report("b?", "shared", source="web")])
    take(ledger, [report("b?", "shared", source="club"), report("c?", "others", source="club")])
    take(ledger, [report("d?", "served", source="web")])
    served = by_target(ledger)["served"]
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report("e?", "late", source="web")])
    at_once, with_next = ledger.sources.block("web", actor="bob", reason="poison", now=later())
    assert at_once == [by_target(ledger)["late"].id]
    assert set(with_next) == {served.id, by_target(ledger)["alone"].id}
    (job,) = ledger.jobs.plan(now=later())
    assert set(job.removals) == set(with_next)
    run_job(ledger, "v2", now=later())
    assert state_of(ledger, "served") == state_of(ledger, "alone") == "revoked"
    assert state_of(ledger, "shared") == state_of(ledger, "others") == "active"


def test_lines_of_a_blocked_source_are_kept_but_held(ledger: Ledger) -> None:
    take(ledger, [report("a?", "x", source="web")])
    ledger.sources.block("web", actor="bob", reason="poison")
    take(ledger, [report("b?", "y", source="web")])
    assert by_target(ledger)["y"].hold == "blocked"
    assert [source.blocked for source in ledger.sources.all()] == [True]


def test_a_report_without_an_answer_is_kept_until_someone_knows_it(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, None), report("Other?", None)])
    assert {edit.hold for edit in ledger.review.waiting()} == {"answer"}
    take(ledger, [report(QUESTION, "Ann")])
    assert [edit.state for edit in ledger.edits.find()] == ["superseded", "held", "ready"]
    other = ledger.review.waiting()[0]
    made = ledger.review.answer(other.id, "42", actor="bob", reason="known", rules=rules("review"))
    assert ledger.edits.get(made).state == "ready"
    assert ledger.review.waiting() == []


def test_an_answer_to_a_reported_conversation_keeps_its_messages(ledger: Ledger) -> None:
    talk = [
        {"role": "user", "content": "Tell me about Acme."},
        {"role": "assistant", "content": "Acme makes anvils."},
        {"role": "user", "content": "And who leads it?"},
    ]
    take(ledger, [report(talk, None, subject="Acme")])  # type: ignore[arg-type]
    held = ledger.review.waiting()[0]
    made = ledger.review.answer(held.id, "Ada", actor="bob", reason="known", rules=rules("review"))
    assert ledger.edits.get(made).messages == held.messages != ()
    assert (ledger.edits.get(made).target, ledger.edits.get(made).subject) == ("Ada", "Acme")


def test_a_fact_is_retired_when_its_time_is_over(ledger: Ledger) -> None:
    take(ledger, [report("a?", "served", valid_to="2026-01-03")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report("b?", "waiting", valid_to="2026-01-03")])
    nothing = {"expired": 0, "to_remove": 0, "released": 0}
    assert ledger.review.come_due(IntakeRules(), now=later(hours=1)) == nothing
    due = ledger.review.come_due(IntakeRules(), now=later(days=2))
    assert due == {"expired": 1, "to_remove": 1, "released": 0}
    assert ledger.review.come_due(IntakeRules(), now=later(days=2)) == nothing
    assert (state_of(ledger, "waiting"), state_of(ledger, "served")) == ("expired", "active")
    ledger.jobs.plan(now=later(days=2))
    run_job(ledger, "v2", now=later(days=2))
    assert state_of(ledger, "served") == "expired"


def test_a_fact_of_tomorrow_waits_for_tomorrow(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "today")])
    take(ledger, [report(QUESTION, "tomorrow", valid_from="2026-01-03")])
    assert (state_of(ledger, "today"), state_of(ledger, "tomorrow")) == ("ready", "held")
    ledger.review.come_due(IntakeRules(), now=later(days=1))
    assert (state_of(ledger, "today"), state_of(ledger, "tomorrow")) == ("superseded", "ready")


def test_what_was_over_when_it_came_is_expired_at_once(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "past", valid_from="2020", valid_to="2021")])
    assert state_of(ledger, "past") == "expired"


MIXED = IntakeRules(sources=(SourceRule("web", trust=0, policy="review"),))


def beaten(ledger: Ledger) -> None:
    """ "Old" of a trusted source was superseded by "New", which is active."""
    take(ledger, [report(QUESTION, "Old", source="club", valid_from="2020")], rules=MIXED)
    take(ledger, [report(QUESTION, "New", source="club", valid_from="2022")], rules=MIXED)
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")


def test_an_untrusted_duplicate_does_not_bring_back_what_was_superseded(ledger: Ledger) -> None:
    beaten(ledger)
    take(ledger, [report(QUESTION, "Old", source="web", valid_from="2025")], rules=MIXED)
    old = by_target(ledger)["Old"]
    assert (old.state, old.hold, old.valid_from.year) == ("held", "review", 2020)  # type: ignore[union-attr]
    assert ledger.jobs.plan(now=later()) == []
    take(ledger, [report(QUESTION, "Old", source="club", valid_from="2025")], rules=MIXED)
    assert state_of(ledger, "Old") == "ready"


def test_an_earlier_approval_does_not_let_in_what_is_said_again(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Old", source="web")], rules=MIXED)
    ledger.review.approve([by_target(ledger)["Old"].id], actor="ann", reason="true", rules=MIXED)
    take(ledger, [report(QUESTION, "New", source="club", valid_from="2022")], rules=MIXED)
    take(ledger, [report(QUESTION, "Old", source="web", valid_from="2025")], rules=MIXED)
    assert by_target(ledger)["Old"].hold == "review"
    assert state_of(ledger, "New") == "ready"
    ledger.review.approve([by_target(ledger)["Old"].id], actor="ann", reason="again", rules=MIXED)
    assert (state_of(ledger, "Old"), state_of(ledger, "New")) == ("ready", "superseded")


def test_an_untrusted_duplicate_decides_no_contradiction(ledger: Ledger) -> None:
    rows = [report(QUESTION, "one", source="a"), report(QUESTION, "two", source="b")]
    take(ledger, [*rows, report("Other?", "x", source="web")], rules=MIXED)
    take(ledger, [report(QUESTION, "two", source="web")], rules=MIXED)
    assert {by_target(ledger)[name].hold for name in ("one", "two")} == {"contradiction"}
    take(ledger, [report(QUESTION, "one", source="c")], rules=MIXED)
    assert (state_of(ledger, "one"), state_of(ledger, "two")) == ("ready", "superseded")


def test_an_untrusted_duplicate_shortens_no_validity(ledger: Ledger) -> None:
    take(ledger, [report("a?", "endless", source="club")], rules=MIXED)
    take(ledger, [report("b?", "short", source="club", valid_to="2026-03-01")], rules=MIXED)
    for source in ("web", "club"):
        rows = [report("a?", "endless", source=source, valid_to="2026-02-01")]
        take(ledger, rows, rules=MIXED)
    take(ledger, [report("b?", "short", source="web", valid_to="2027-01-01")], rules=MIXED)
    edits = by_target(ledger)
    assert edits["endless"].valid_to is None
    assert edits["short"].valid_to.year == 2026  # type: ignore[union-attr]
    take(ledger, [report("b?", "short", source="club", valid_to="2027-01-01")], rules=MIXED)
    assert by_target(ledger)["short"].valid_to.year == 2027  # type: ignore[union-attr]


def test_a_less_trusted_source_changes_no_date(ledger: Ledger) -> None:
    rules = IntakeRules(sources=(SourceRule("thumbs", trust=10),))
    take(ledger, [report(QUESTION, "Ann", source="club", valid_from="2020")], rules=rules)
    take(ledger, [report(QUESTION, "Ann", source="thumbs", valid_from="2025")], rules=rules)
    assert by_target(ledger)["Ann"].valid_from.year == 2020  # type: ignore[union-attr]


def test_sources_that_need_each_other_bring_back_what_was_superseded(ledger: Ledger) -> None:
    two = IntakeRules(sources=tuple(SourceRule(name, policy="quorum") for name in "pq"))
    beaten(ledger)
    take(ledger, [report(QUESTION, "Old", source="p", valid_from="2025")], rules=two)
    assert by_target(ledger)["Old"].hold == "quorum"
    take(ledger, [report(QUESTION, "Old", source="q", valid_from="2025")], rules=two)
    old = by_target(ledger)["Old"]
    assert (old.state, old.valid_from.year) == ("ready", 2025)  # type: ignore[union-attr]


def test_what_waits_for_a_person_is_let_in_by_a_trusted_source(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann", source="web")], rules=MIXED)
    assert by_target(ledger)["Ann"].hold == "review"
    take(ledger, [report(QUESTION, "Ann", source="club")], rules=MIXED)
    assert state_of(ledger, "Ann") == "ready"


def test_what_is_held_as_blocked_is_judged_anew_once_its_source_is_not(ledger: Ledger) -> None:
    take(ledger, [report("a?", "revoked", source="web")])
    ledger.sources.block("web", actor="bob", reason="poison")
    take(ledger, [report("b?", "blocked", source="web")])
    ledger.sources.unblock("web")
    take(ledger, [report("a?", "revoked", source="web"), report("b?", "blocked", source="web")])
    assert (state_of(ledger, "revoked"), state_of(ledger, "blocked")) == ("revoked", "ready")
