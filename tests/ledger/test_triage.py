"""Reports without the right answer: grouped by question, most reported first, until somebody answers."""

from __future__ import annotations

import pytest

from ledger import IntakeRules, Ledger
from tests.ledger.support import later, report, run_job, state_of, take
from text import proposed_answer


def wrong(prompt: str, **more: object) -> dict[str, object]:
    """A thumbs-down."""
    return {"prompt": prompt, "source": "web", **more}


def test_questions_are_grouped_with_answers_and_comments_the_most_reported_first(
    ledger: Ledger,
) -> None:
    take(ledger, [wrong("Who wrote Faust?", old_answer="Schiller")])
    take(
        ledger,
        [
            wrong("Capital of Norway?", old_answer="Bergen", comment="nonsense", source="a"),
            wrong("capital of norway", old_answer="Bergen", comment="should be Oslo.", source="b"),
            wrong(
                "Capital of  Norway?", old_answer="Rome", comment="It's Oslo, not Rome", source="b"
            ),
        ],
        now=later(hours=1),
    )
    first, second = ledger.triage.unanswered()
    assert (first.prompt, first.reports, first.sources) == ("Capital of Norway?", 3, 2)
    assert first.answers == (("Bergen", 2), ("Rome", 1))
    assert [(c.text, c.source, c.proposal) for c in first.comments] == [
        ("It's Oslo, not Rome", "b", "Oslo"),
        ("should be Oslo.", "b", "Oslo"),
        ("nonsense", "a", None),
    ]
    assert first.proposals == (("Oslo", 2),)
    assert (second.prompt, second.answers, second.proposals) == (
        "Who wrote Faust?",
        (("Schiller", 1),),
        (),
    )
    assert {edit.target for edit in ledger.edits.find()} == {None}  # proposed, never applied


@pytest.mark.parametrize("order", ["before", "in one file, first", "in one file, last", "again"])
def test_a_correction_completes_a_held_report_whichever_comes_first(
    ledger: Ledger, order: str
) -> None:
    down, right = wrong("Capital of Norway?"), report("Capital of Norway?", "Oslo")
    rows = {
        "before": [[right], [down]],
        "in one file, first": [[down, right]],
        "in one file, last": [[right, down]],
        "again": [[right], [down], [right]],
    }[order]
    for chunk in rows:
        take(ledger, chunk)
    assert ledger.triage.unanswered() == []
    assert state_of(ledger, "Oslo") == "ready"
    (done,) = [edit for edit in ledger.edits.find() if edit.target is None]
    assert done.state == "superseded"
    assert ledger.edits.history(done.id)[-1].reason.startswith("answered by")
    assert ledger.audit() == []


def test_a_report_against_an_edit_in_use_is_held_with_what_that_edit_answers(
    ledger: Ledger,
) -> None:
    take(ledger, [report("Capital of Norway?", "Oslo")])
    ledger.jobs.plan()
    run_job(ledger, "v1")
    take(ledger, [wrong("Capital of Norway?", old_answer="Bergen")])
    (question,) = ledger.triage.unanswered()
    assert question.in_use is not None
    assert question.in_use[0] == "Oslo"
    take(ledger, [report("Capital of Norway?", "Oslo", source="desk")])
    assert ledger.triage.unanswered() == []


def test_an_answer_held_for_review_ends_the_report_once_it_is_let_in(ledger: Ledger) -> None:
    from ledger import SourceRule

    rules = IntakeRules(sources=(SourceRule("web", policy="review"),))
    take(ledger, [wrong("2+2?", source="x")], rules=rules)
    take(ledger, [report("2+2?", "4", source="web")], rules=rules)
    assert len(ledger.triage.unanswered()) == 1
    (held,) = [edit for edit in ledger.review.waiting() if edit.target]
    ledger.review.approve([held.id], actor="bob", reason="yes", rules=rules)
    assert ledger.triage.unanswered() == []


@pytest.mark.parametrize(
    ("comment", "answer"),
    [
        ("should be Oslo", "Oslo"),
        ("This should have been 'Oslo'!", "Oslo"),
        ("Wrong. The correct answer is Bo Ek, not Ada Li.", "Bo Ek"),
        ("correct answer: 42", "42"),
        ("Correct: 3.14", "3.14"),
        ("not Bergen but Oslo", "Oslo"),
        ("it's Goethe, not Schiller", "Goethe"),
        ("Oslo instead of Bergen", "Oslo"),
        ("It should say St. Gallen because of the canton", "St"),
        ("must be Oslo (as every child knows)", "Oslo"),
        ("nonsense", None),
        ("", None),
        ("should be " + "x" * 300, None),
        ("should be ?!", None),
        ("I expected better", None),
    ],
)
def test_a_comment_that_holds_the_answer_proposes_it(comment: str, answer: str | None) -> None:
    assert proposed_answer(comment) == answer
