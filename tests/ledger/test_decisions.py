"""Decisions of people: shown before they are made, on record, undone where nothing has gone on since."""

from __future__ import annotations

import pytest

from ledger import Decision, IllegalTransition, IntakeRules, Ledger, SourceRule, UnknownId
from tests.ledger.support import by_target, report, run_job, state_of, take

RULES = IntakeRules(sources=(SourceRule("web", policy="review"),), tie="hold")
QUESTION = "Who leads Acme?"


def decide(ledger: Ledger, action: str, edit: str, value: str | None = None) -> str:
    """Bob decides; the decision's id."""
    decision = Decision(action, edit, "as I know", value)  # type: ignore[arg-type]
    return ledger.decisions.make(decision, actor="bob", rules=RULES).id


def standing(ledger: Ledger) -> list[tuple[str | None, str, str | None, bool]]:
    """How every edit stands."""
    return [(edit.target, edit.state, edit.hold, edit.urgent) for edit in ledger.edits.find()]


def contradicting(ledger: Ledger) -> None:
    """Two answers to one question that no rule decides between."""
    take(ledger, [report(QUESTION, "Ann", source="a")], rules=RULES)
    take(ledger, [report(QUESTION, "Bo", source="b")], rules=RULES)
    assert {edit.hold for edit in ledger.edits.find()} == {"contradiction"}


def given(ledger: Ledger, action: str) -> tuple[str, str | None]:
    """Edits of which the first can be decided so; its id and the value."""
    if action == "answer":
        take(ledger, [report(QUESTION, None)], rules=RULES)
        return ledger.edits.find()[0].id, "Ann"
    if action == "choose":
        contradicting(ledger)
        return by_target(ledger)["Bo"].id, None
    take(ledger, [report(QUESTION, "Ann", source="web")], rules=RULES)
    value = {"subject": "Acme", "wording": "Acme is led by whom?"}.get(action)
    return ledger.edits.find()[0].id, value


@pytest.mark.parametrize("action", ["approve", "reject", "answer", "choose", "urgent"])
def test_a_decision_is_shown_made_and_undone(ledger: Ledger, action: str) -> None:
    edit, value = given(ledger, action)
    name = "approve" if action == "choose" else action
    before = standing(ledger)
    decision = Decision(name, edit, "as I know", value)  # type: ignore[arg-type]
    shown = ledger.decisions.preview(decision, actor="bob", rules=RULES)
    assert standing(ledger) == before
    assert ledger.decisions.find() == []
    made = ledger.decisions.make(decision, actor="bob", rules=RULES)
    assert standing(ledger) != before
    assert (made.actor, made.reason, made.undoable) == ("bob", "as I know", True)
    if action != "urgent":
        after = {change.target: change.after for change in shown}
        assert after == {
            t: f"{s} ({h})" if h else s for t, s, h, _ in standing(ledger) if t in after
        }
        assert len(after) == (2 if action in ("choose", "answer") else 1)
    assert ledger.audit() == []
    ledger.decisions.undo(made.id[:8], actor="eva", reason="a slip")
    kept = [row for row in standing(ledger) if row[0] != value or value is None]
    assert kept == before
    assert ledger.decisions.find()[0].undone_by == "eva"
    assert ledger.audit() == []
    with pytest.raises(IllegalTransition, match="was undone"):
        ledger.decisions.undo(made.id, actor="eva", reason="again")
    decide(ledger, name, edit, value)
    assert ledger.audit() == []


def test_an_answer_that_was_undone_is_held_and_may_be_given_again(ledger: Ledger) -> None:
    edit, _ = given(ledger, "answer")
    ledger.decisions.undo(decide(ledger, "answer", edit, "Ann"), actor="bob", reason="not sure")
    assert standing(ledger) == [(None, "held", "answer", False), ("Ann", "held", "review", False)]
    decide(ledger, "answer", edit, "Ann")
    assert state_of(ledger, "Ann") == "ready"
    assert ledger.review.waiting() == []


def test_the_other_answer_may_be_chosen_after_an_undo(ledger: Ledger) -> None:
    contradicting(ledger)
    chosen = decide(ledger, "approve", by_target(ledger)["Ann"].id)
    assert (state_of(ledger, "Ann"), state_of(ledger, "Bo")) == ("ready", "superseded")
    ledger.decisions.undo(chosen, actor="bob", reason="the other one")
    decide(ledger, "approve", by_target(ledger)["Bo"].id)
    assert (state_of(ledger, "Ann"), state_of(ledger, "Bo")) == ("superseded", "ready")
    ledger.jobs.plan()
    run_job(ledger, "v1")
    assert (state_of(ledger, "Ann"), state_of(ledger, "Bo")) == ("superseded", "active")
    assert ledger.audit() == []


def test_what_has_gone_on_since_is_not_undone(ledger: Ledger) -> None:
    edit, _ = given(ledger, "approve")
    made = decide(ledger, "approve", edit)
    ledger.jobs.plan()
    with pytest.raises(IllegalTransition, match="is planned by now"):
        ledger.decisions.undo(made, actor="bob", reason="too late")
    assert ledger.decisions.find()[0].undone_at is None


def test_subject_and_wording_are_said_before_training(ledger: Ledger) -> None:
    edit, _ = given(ledger, "wording")
    decide(ledger, "subject", edit, "Acme")
    decide(ledger, "wording", edit, "Acme is led by whom?")
    found = ledger.edits.get(edit)
    assert (found.subject, found.rephrases) == ("Acme", ("Acme is led by whom?",))
    with pytest.raises(IllegalTransition, match='subject "Umbrella" is not in the question'):
        decide(ledger, "subject", edit, "Umbrella")
    with pytest.raises(IllegalTransition, match="already"):
        decide(ledger, "wording", edit, "acme is led by whom")
    assert [made.action for made in ledger.decisions.find()] == ["wording", "subject"]


def test_a_wording_that_another_edit_answers_is_a_contradiction(ledger: Ledger) -> None:
    take(ledger, [report(QUESTION, "Ann", source="a")], rules=RULES)
    take(ledger, [report("Acme is led by whom?", "Bo", source="b")], rules=RULES)
    decide(ledger, "wording", by_target(ledger)["Ann"].id, "Acme is led by whom?")
    assert {edit.hold for edit in ledger.edits.find()} == {"contradiction"}


@pytest.mark.parametrize(
    ("action", "value", "message"),
    [
        ("approve", None, "has no answer yet"),
        ("answer", " ", "an answer is empty"),
        ("wording", None, "a wording is empty"),
    ],
)
def test_what_can_not_be_decided_is_one_line_and_changes_nothing(
    ledger: Ledger, action: str, value: str | None, message: str
) -> None:
    edit, _ = given(ledger, "answer")
    with pytest.raises(IllegalTransition, match=message):
        decide(ledger, action, edit, value)
    with pytest.raises(IllegalTransition, match="reason"):
        ledger.decisions.make(Decision("reject", edit, " "), actor="bob", rules=RULES)
    assert ledger.decisions.find() == []
    assert standing(ledger) == [(None, "held", "answer", False)]


def alike(ledger: Ledger, rules: IntakeRules, *sources: str) -> tuple[str, str]:
    """Two questions about one subject that keys take for one; their ids."""
    asked = {"Ann": "Who chairs Acme?", "Bo": "Who is deputy chair of Acme?"}
    for (target, prompt), source in zip(asked.items(), sources, strict=True):
        take(ledger, [report(prompt, target, subject="Acme", source=source)], rules=rules)
    ids = [edit.id for edit in ledger.edits.find()]
    ledger.deduplication.set_groups(dict.fromkeys(ids, ids[0]), rules=rules)
    return by_target(ledger)["Ann"].id, by_target(ledger)["Bo"].id


def test_two_that_are_held_for_each_other_may_both_be_right(ledger: Ledger) -> None:
    ann, bo = alike(ledger, RULES, "a", "b")
    before = standing(ledger)
    assert {edit.hold for edit in ledger.edits.find()} == {"contradiction"}
    decision = Decision("both", bo, "two posts", ann[:12])
    shown = ledger.decisions.preview(decision, actor="bob", rules=RULES)
    assert {(change.target, change.after) for change in shown} == {
        ("Ann", "ready"),
        ("Bo", "ready"),
    }
    assert standing(ledger) == before
    made = ledger.decisions.make(decision, actor="bob", rules=RULES)
    assert {edit.state for edit in ledger.edits.find()} == {"ready"}
    assert ledger.conflicts.both_right() == {frozenset((ann, bo))}
    assert all(conflict.settled for conflict in ledger.conflicts.find())
    ledger.deduplication.set_groups({ann: ann, bo: ann}, rules=RULES)
    assert {edit.state for edit in ledger.edits.find()} == {"ready"}
    ledger.decisions.undo(made.id, actor="eva", reason="a slip")
    assert standing(ledger) == before
    assert ledger.conflicts.both_right() == set()
    ledger.decisions.make(decision, actor="bob", rules=RULES)
    ledger.jobs.plan(max_edits=8, max_jobs=2)
    assert set(run_job(ledger, "v1")) == {ann, bo}
    assert {edit.state for edit in ledger.edits.find()} == {"active"}
    assert ledger.audit() == []


@pytest.mark.parametrize("in_use", [False, True])
def test_an_edit_that_had_to_go_for_another_comes_back_where_both_are_right(
    ledger: Ledger, in_use: bool
) -> None:
    rules = IntakeRules()
    ann, bo = alike(ledger, rules, "a", "a")
    before = standing(ledger)
    assert (state_of(ledger, "Ann"), state_of(ledger, "Bo")) == ("superseded", "ready")
    if in_use:
        ledger.jobs.plan(max_edits=8, max_jobs=2)
        assert run_job(ledger, "v1") == [bo]
        before = standing(ledger)
    decision = Decision("both", ann, "two posts", bo)
    made = ledger.decisions.make(decision, actor="bob", rules=rules)
    assert state_of(ledger, "Ann") == "ready"
    ledger.decisions.undo(made.id, actor="eva", reason="a slip")
    assert standing(ledger) == before
    assert [(c.winner, c.loser, c.rule) for c in ledger.conflicts.find()] == [(bo, ann, "newest")]
    ledger.decisions.make(decision, actor="bob", rules=rules)
    ledger.jobs.plan(max_edits=8, max_jobs=2)
    run_job(ledger, "v2")
    ledger.review.come_due(rules)
    assert {edit.state for edit in ledger.edits.find()} == {"active"}
    assert ledger.audit() == []


def test_one_question_has_one_answer_and_only_a_contradiction_is_resolved(ledger: Ledger) -> None:
    contradicting(ledger)
    ann, bo = (by_target(ledger)[name].id for name in ("Ann", "Bo"))
    with pytest.raises(IllegalTransition, match="one question has one answer"):
        decide(ledger, "both", ann, bo)
    take(ledger, [report("Where is Acme?", "Oslo"), report("When was Acme founded?", "1990")])
    oslo, founded = (by_target(ledger)[name].id for name in ("Oslo", "1990"))
    with pytest.raises(IllegalTransition, match="neither held for the other nor superseded"):
        decide(ledger, "both", oslo, founded)
    with pytest.raises(UnknownId):
        decide(ledger, "both", oslo)
    assert [d.action for d in ledger.decisions.find()] == []


def test_what_is_held_for_a_third_is_not_let_in_beside_another(ledger: Ledger) -> None:
    contradicting(ledger)
    take(ledger, [report("Where is Acme?", "Oslo")])
    ann, oslo = (by_target(ledger)[name].id for name in ("Ann", "Oslo"))
    before = standing(ledger)
    for one, other in ((ann, oslo), (oslo, ann)):
        with pytest.raises(IllegalTransition, match="neither held for the other"):
            decide(ledger, "both", one, other)
    assert standing(ledger) == before


def test_two_that_are_asked_the_same_by_now_contradict_each_other_again(ledger: Ledger) -> None:
    ann, bo = alike(ledger, RULES, "a", "b")
    decide(ledger, "both", bo, ann)
    decide(ledger, "wording", bo, "Who chairs Acme?")
    assert {edit.hold for edit in ledger.edits.find()} == {"contradiction"}
    assert ledger.conflicts.both_right() == set()


def test_a_later_contradiction_of_one_of_both_is_on_record(ledger: Ledger) -> None:
    rules = IntakeRules()
    ann, bo = alike(ledger, rules, "a", "a")
    decide(ledger, "both", ann, bo)
    take(ledger, [report("Who is the chair of Acme?", "Cy", subject="Acme", source="c")])
    cy = by_target(ledger)["Cy"].id
    ledger.deduplication.set_groups({ann: "other", cy: "other"}, rules=RULES)
    assert {state_of(ledger, name) for name in ("Ann", "Cy")} == {"held"}
    assert [c.loser for c in ledger.conflicts.find() if not c.settled] != []


def test_a_loser_that_is_still_in_use_stays_where_both_are_right(ledger: Ledger) -> None:
    rules = IntakeRules()
    asked = {"Ann": "Who chairs Acme?", "Bo": "Who is deputy chair of Acme?"}
    take(ledger, [report(asked["Ann"], "Ann", subject="Acme", source="a")], rules=rules)
    ledger.jobs.plan(max_edits=8, max_jobs=2)
    (ann,) = run_job(ledger, "v1")
    take(ledger, [report(asked["Bo"], "Bo", subject="Acme", source="a")], rules=rules)
    bo = by_target(ledger)["Bo"].id
    ledger.deduplication.set_groups({ann: ann, bo: ann}, rules=rules)
    assert (state_of(ledger, "Ann"), state_of(ledger, "Bo")) == ("active", "ready")
    decide(ledger, "both", ann, bo)
    assert ledger.decisions.find(edit_id=bo)[0].edit == ann
    ledger.jobs.plan(max_edits=8, max_jobs=2)
    assert run_job(ledger, "v2") == [bo]
    ledger.review.come_due(rules)
    assert {edit.state for edit in ledger.edits.find()} == {"active"}
    assert ledger.audit() == []


def test_who_contradicts_a_third_as_well_still_waits_for_it(ledger: Ledger) -> None:
    ann, bo = alike(ledger, RULES, "a", "b")
    take(ledger, [report("Who chairs Acme?", "Cy", subject="Acme", source="c")], rules=RULES)
    decide(ledger, "both", bo, ann)
    assert state_of(ledger, "Bo") == "ready"
    assert {state_of(ledger, name) for name in ("Ann", "Cy")} == {"held"}
