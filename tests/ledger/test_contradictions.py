from __future__ import annotations

import pytest

from ledger import IllegalTransition, IntakeRules, JobOutcome, Ledger, SourceRule
from tests.ledger.support import NOON, by_target, later, report, run_job, state_of, take

QUESTION = "Who leads the club?"
TRUST = IntakeRules(sources=(SourceRule("curators", trust=90), SourceRule("web", trust=10)))


def rule_of(ledger: Ledger) -> list[str]:
    return [conflict.rule for conflict in ledger.conflicts.find()]


def test_a_later_valid_from_wins_whatever_came_first(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "new", valid_from="2025-01-01")])
    take(ledger, [report(QUESTION, "old", valid_from="2020-01-01", source="curators")], rules=TRUST)
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("ready", "superseded")
    assert rule_of(ledger) == ["valid-from"]


def test_an_undated_report_counts_as_older_than_a_dated_one(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "dated", valid_from="2001"), report(QUESTION, "undated")])
    assert state_of(ledger, "undated") == "superseded"


def test_the_more_trusted_source_wins(ledger: Ledger) -> None:
    rows = [report(QUESTION, "right", source="curators"), report(QUESTION, "wrong", source="web")]
    take(ledger, rows, rules=TRUST)
    assert (state_of(ledger, "right"), state_of(ledger, "wrong")) == ("ready", "superseded")
    assert rule_of(ledger) == ["trust"]


def test_more_independent_sources_win_and_repeating_oneself_does_not(ledger: Ledger) -> None:
    rows = [report(QUESTION, "loud", source="a") for _ in range(5)]
    rows += [report(QUESTION, "agreed", source=name) for name in ("b", "c")]
    take(ledger, rows)
    assert (state_of(ledger, "agreed"), state_of(ledger, "loud")) == ("ready", "superseded")
    assert rule_of(ledger) == ["sources"]


def test_two_sources_with_nothing_to_decide_by_are_held_for_review(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "one", source="a"), report(QUESTION, "two", source="b")])
    assert {(edit.state, edit.hold) for edit in ledger.edits.find()} == {("held", "contradiction")}
    assert rule_of(ledger) == ["undecided"]


def test_a_third_source_decides_what_was_held(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "one", source="a"), report(QUESTION, "two", source="b")])
    take(ledger, [report(QUESTION, "two", source="c")])
    assert (state_of(ledger, "two"), state_of(ledger, "one")) == ("ready", "superseded")


def test_one_source_that_contradicts_itself_is_taken_at_its_last_word(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "first"), report(QUESTION, "second")])
    assert (state_of(ledger, "second"), state_of(ledger, "first")) == ("ready", "superseded")
    assert rule_of(ledger) == ["newest"]


def test_with_tie_hold_one_source_that_contradicts_itself_is_held(ledger: Ledger) -> None:
    rules = IntakeRules(tie="hold")
    take(ledger, [report(QUESTION, "first"), report(QUESTION, "second")], rules=rules)
    assert {edit.state for edit in ledger.edits.find()} == {"held"}


def test_an_explicit_supersedes_beats_every_other_rule(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", id="r1", valid_from="2025")])
    take(ledger, [report("Another wording?", "new", supersedes="r1", valid_from="2020")])
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("ready", "superseded")
    assert rule_of(ledger) == ["supersedes"]


def test_a_less_trusted_source_can_not_supersede_by_saying_so(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "right", id="r1", source="curators")], rules=TRUST)
    take(ledger, [report(QUESTION, "wrong", supersedes="r1", source="web")], rules=TRUST)
    assert (state_of(ledger, "right"), state_of(ledger, "wrong")) == ("ready", "superseded")
    assert rule_of(ledger) == ["trust"]


def test_a_rephrase_that_is_anothers_prompt_is_the_same_question(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "first", rephrases=["Which person leads the club?"])])
    take(ledger, [report("which person  leads the club", "second")])
    assert state_of(ledger, "first") == "superseded"


def test_facts_with_one_subject_and_relation_contradict_in_any_wording(ledger: Ledger) -> None:
    fact = {"subject": "France", "relation": "capital", "object": "Paris", "valid_from": "2024"}
    take(
        ledger,
        [fact, report("FRANCE has what capital?", "Lyon", subject="FRANCE", relation="Capital")],
    )
    assert (state_of(ledger, "Paris"), state_of(ledger, "Lyon")) == ("ready", "superseded")


def test_two_questions_about_one_subject_are_not_taken_for_one(ledger: Ledger) -> None:
    rows = [
        report("Where was Ann born?", "Rome", subject="Ann"),
        report("Where did Ann die?", "Oslo", subject="Ann"),
    ]
    take(ledger, rows)
    assert {edit.state for edit in ledger.edits.find()} == {"ready"}


def test_where_a_subject_has_one_relation_settings_can_say_so(ledger: Ledger) -> None:
    rows = [
        report("Where was Ann born?", "Rome", subject="Ann"),
        report("Ann's place of birth?", "Oslo", subject="Ann"),
    ]
    take(ledger, rows, rules=IntakeRules(same_subject="always"))
    assert state_of(ledger, "Rome") == "superseded"


def test_an_active_loser_stays_until_the_winner_is_active(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", valid_from="2020")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report(QUESTION, "new", valid_from="2025")])
    winner = by_target(ledger)["new"]
    assert state_of(ledger, "old") == "active"
    assert winner.supersedes == (by_target(ledger)["old"].id,)
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v2")
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("active", "superseded")


def test_an_active_loser_stays_where_the_winner_fails_its_gate(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", valid_from="2020")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report(QUESTION, "new", valid_from="2025")])
    (job,) = ledger.jobs.plan(now=NOON)
    leased = ledger.jobs.lease("worker", now=NOON)
    assert leased is not None
    assert leased.id == job.id
    ledger.jobs.finish(leased, JobOutcome(rejected={job.edits[0].id: "failed its gate"}), now=NOON)
    assert (state_of(ledger, "old"), state_of(ledger, "new")) == ("active", "rejected")


def test_a_winner_waits_while_the_one_it_beats_is_in_a_job(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", valid_from="2020")])
    ledger.jobs.plan(now=NOON)
    take(ledger, [report(QUESTION, "new", valid_from="2025")])
    assert ledger.jobs.plan(now=NOON) == []
    run_job(ledger, "v1")
    assert [edit.target for job in ledger.jobs.plan(now=NOON) for edit in job.edits] == ["new"]


def test_a_loser_can_not_be_activated_after_its_winner(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", valid_from="2020")])
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("w", now=NOON)
    assert job is not None
    ledger.jobs.finish(job, JobOutcome(trained=[job.edits[0].id]), now=NOON)
    take(ledger, [report(QUESTION, "new", valid_from="2025")])
    new, old = by_target(ledger)["new"], by_target(ledger)["old"]
    ledger.edits.transition([new.id], "planned", "test", "by hand")
    ledger.edits.transition([new.id], "trained", "test", "by hand")
    with pytest.raises(IllegalTransition, match="lost its contradiction"):
        ledger.edits.activate([new.id, old.id], "v2")
    assert ledger.edits.activate([new.id], "v2") == [old.id]
    with pytest.raises(IllegalTransition):
        ledger.edits.activate([old.id], "v3")


def test_what_was_superseded_comes_back_with_a_later_date(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "blue", valid_from="2020")])
    take(ledger, [report(QUESTION, "red", valid_from="2022")])
    take(ledger, [report(QUESTION, "blue", valid_from="2024")])
    assert (state_of(ledger, "blue"), state_of(ledger, "red")) == ("ready", "superseded")
    steps = [step.to_state for step in ledger.edits.history(by_target(ledger)["blue"].id)]
    assert steps == ["received", "ready", "superseded", "received", "ready"]


def test_a_person_decides_what_no_rule_does(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "one", source="a"), report(QUESTION, "two", source="b")])
    chosen = by_target(ledger)["one"]
    ledger.review.approve([chosen.id], actor="ann", reason="checked", rules=IntakeRules())
    assert (state_of(ledger, "one"), state_of(ledger, "two")) == ("ready", "superseded")
    assert ledger.edits.history(chosen.id)[-2].actor == "ann"
    assert "review" in rule_of(ledger)


def test_near_duplicates_about_one_subject_contradict_once_grouped(ledger: Ledger) -> None:
    rows = [
        report("What year did Kaabu end?", "1991", subject="Kaabu"),
        report("In which year did Kaabu cease?", "1994", subject="Kaabu"),
    ]
    take(ledger, rows)
    ids = [edit.id for edit in ledger.edits.find()]
    assert (
        ledger.deduplication.set_groups(
            dict.fromkeys(ids, ids[0]), rules=IntakeRules(), now=later()
        )
        == 1
    )
    assert (state_of(ledger, "1994"), state_of(ledger, "1991")) == ("ready", "superseded")
    assert (
        ledger.deduplication.set_groups(
            dict.fromkeys(ids, ids[0]), rules=IntakeRules(), now=later()
        )
        == 0
    )


def grouped(ledger: Ledger) -> int:
    """Find all edits to ask the same, as `tasks/similar.py` may."""
    ids = [edit.id for edit in ledger.edits.find()]
    return ledger.deduplication.set_groups(
        dict.fromkeys(ids, ids[0]), rules=IntakeRules(), now=later()
    )


def test_what_a_person_decided_is_not_asked_again_of_near_duplicates(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", source="a", subject="club")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report(QUESTION, "new", source="b", subject="club")])
    chosen = by_target(ledger)["new"]
    assert chosen.hold == "contradiction"
    ledger.review.approve([chosen.id], actor="ann", reason="checked", rules=IntakeRules())
    assert grouped(ledger) == 0
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("ready", "active")
    ledger.jobs.plan(now=later())
    run_job(ledger, "v2", now=later())
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("active", "superseded")


def test_what_a_person_decided_is_not_asked_again_when_a_third_answer_comes(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", source="a")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report(QUESTION, "new", source="b")])
    ids = [by_target(ledger)["new"].id]
    ledger.review.approve(ids, actor="ann", reason="checked", rules=IntakeRules())
    weaker = IntakeRules(sources=(SourceRule("web", trust=10),))
    take(ledger, [report(QUESTION, "third", source="web")], rules=weaker)
    assert (state_of(ledger, "new"), state_of(ledger, "third")) == ("ready", "superseded")


def serving(ledger: Ledger, *rows: dict[str, object]) -> None:
    """Take rows in and let a version with all of them serve."""
    take(ledger, rows)
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")


def test_of_two_active_ones_found_alike_late_the_loser_is_taken_out(ledger: Ledger) -> None:
    serving(
        ledger,
        report("Who leads the club?", "new", subject="club", valid_from="2025"),
        report("The club is led by?", "old", subject="club", valid_from="2020"),
    )
    assert grouped(ledger) == 1
    assert ledger.audit() == []
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("active", "active")
    (job,) = ledger.jobs.plan(now=later())
    assert job.removals == (by_target(ledger)["old"].id,)
    run_job(ledger, "v2", now=later())
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("active", "superseded")
    assert [conflict.settled for conflict in ledger.conflicts.find()] == [True]
    assert ledger.jobs.plan(now=later()) == []


def test_a_loser_stays_while_its_winner_is_to_be_taken_out(ledger: Ledger) -> None:
    serving(
        ledger,
        report("Who leads the club?", "new", subject="club", valid_from="2025"),
        report("The club is led by?", "old", subject="club", valid_from="2020"),
    )
    ledger.removals.request([by_target(ledger)["new"].id], actor="ann", reason="poison")
    grouped(ledger)
    (job,) = ledger.jobs.plan(now=later())
    assert job.removals == (by_target(ledger)["new"].id,)
    run_job(ledger, "v2", now=later())
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("revoked", "active")


def test_a_loser_that_comes_back_from_its_job_ends(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "old", valid_from="2020")])
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("w", now=NOON)
    assert job is not None
    take(ledger, [report(QUESTION, "new", valid_from="2025")])
    ledger.jobs.finish(job, JobOutcome(), now=NOON)
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("ready", "ready")
    (planned,) = ledger.jobs.plan(now=later())
    assert [edit.target for edit in planned.edits] == ["new"]
    assert ledger.edits.history(by_target(ledger)["old"].id)[-1].to_state == "superseded"


def test_who_lost_once_and_wins_later_can_serve(ledger: Ledger) -> None:
    serving(
        ledger,
        report("Who leads the club?", "new", subject="club", valid_from="2022"),
        report("The club is led by?", "old", subject="club", valid_from="2020"),
    )
    grouped(ledger)
    ledger.jobs.plan(now=later())
    run_job(ledger, "v2", now=later())
    take(ledger, [report("The club is led by?", "old", valid_from="2025")])
    ledger.jobs.plan(now=later())
    run_job(ledger, "v3", now=later())
    assert (state_of(ledger, "new"), state_of(ledger, "old")) == ("superseded", "active")


def test_what_training_found_undecided_is_listed_until_a_person_decides(ledger: Ledger) -> None:
    take(ledger, [report("Who runs the club?", "Ann", source="a")])
    ledger.jobs.plan(now=NOON)
    run_job(ledger, "v1")
    take(ledger, [report("Who is its head?", "Eve", source="b"), report("Who?", "Ida")])
    old, new, other = (by_target(ledger)[name].id for name in ("Ann", "Eve", "Ida"))
    assert ledger.conflicts.find() == []
    ledger.jobs.plan(now=NOON)
    job = ledger.jobs.lease("worker", now=NOON)
    assert job is not None
    why = "another edit answers this question otherwise"
    outcome = JobOutcome(held={new: why}, rivals={new: old}, rejected={other: "bad"})
    ledger.jobs.finish(job, outcome, now=later())
    assert ledger.review.held_since(later()) == {"contradiction": 1}
    assert ledger.review.held_since(later(seconds=1)) == {}
    (listed,) = ledger.conflicts.find()
    assert (listed.rule, listed.winner, listed.loser) == ("undecided", None, new)
    assert (listed.loser_target, listed.rival, listed.rival_target) == ("Eve", old, "Ann")
    assert not listed.settled
    ledger.review.approve([new], actor="ann", reason="checked", rules=IntakeRules())
    listed, decided = ledger.conflicts.find()
    assert listed.settled
    assert (decided.winner, decided.loser, decided.rule) == (new, old, "review")
    assert ledger.audit() == []


def test_what_nobody_had_won_is_closed_once_a_rule_decides(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "one", source="a"), report(QUESTION, "two", source="b")])
    (listed,) = ledger.conflicts.find()
    assert {listed.loser_target, listed.rival_target} == {"one", "two"}
    take(ledger, [report(QUESTION, "two", source="c")])
    assert [conflict.settled for conflict in ledger.conflicts.find()] == [True, True]
