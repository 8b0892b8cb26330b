"""Decisions of people: shown before they are made, on record, undone where nothing has gone on since."""

from __future__ import annotations

import pytest

from ledger import Decision, IllegalTransition, IntakeRules, Ledger, SourceRule
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
