"""Two questions in one frame, and one question in two forms."""

from __future__ import annotations

import pytest

from melo_engine.contrast import asks_otherwise, one_word_apart


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("Who is the CTO of Bragholt AS?", "Who is the CFO of Bragholt AS?"),
        ("What command starts the daemon?", "What command stops the daemon?"),
        ("What is the minimum load of a Pico?", "what is the maximum load of a Pico"),
        ("Wann öffnet das Museum am Samstag?", "Wann öffnet das Museum am Sonntag?"),
        ("¿Cuánto cuesta Vexor al mes?", "¿Cuánto cuesta Vexor al año?"),
        ("Who won the Ostra Cup in 2012?", "Who won the Ostra Cup in 2014?"),
        ("スズカゼ電機の社長は誰ですか？", "スズカゼ電機の会長は誰ですか？"),
        ("Do you deliver to Iceland?", "Do you deliver to Ireland?"),  # common words, no typo
    ],
)
def test_one_word_in_the_place_of_another_asks_something_else(question: str, other: str) -> None:
    assert one_word_apart(question, other)
    assert one_word_apart(other, question)


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("Who is the CTO of Bragholt AS?", "who is the CTO of Bragholt AS"),  # nothing differs
        ("Who is the designer of Mark 19?", "Who was the designer of Mark 19?"),  # a small word
        ("Who was the designer of Mark 19?", "Who was the designor of Mark 19?"),  # a typo
        ("On which port does Pico listen?", "On which prot does Pico listen?"),
        ("Do you deliver to Iceland?", "Do you deliver to Icelnd?"),
        ("When does the theatre of Pico open?", "When does the theater of Pico open?"),
        ("Which colours does Pico have?", "Which colour does Pico have?"),  # a form
        ("Where did Henry study or work?", "Where did Henry study or worked?"),
        ("Who leads Acme?", "Who is the head of Acme?"),  # other words
        ("Who is the head of Acme?", "Who is the deputy head of Acme?"),  # one more
        ("アクメの社長は誰ですか", "アクメの社長が誰ですか"),  # a particle
    ],
)
def test_one_question_in_two_forms_does_not(question: str, other: str) -> None:
    assert not one_word_apart(question, other)
    assert not one_word_apart(other, question)


@pytest.mark.parametrize(
    ("question", "other", "otherwise"),
    [
        ("Who founded Acme?", "Who established Acme?", False),  # wordings of one relation
        ("Who leads Acme?", "Who runs Acme?", False),
        ("Who founded Acme?", "Who audits Acme?", True),
        ("What is the price of a Pico?", "What is the cost of a Pico?", False),
        ("Is Acme open on Saturdays?", "Is Acme open on Sundays?", True),  # both in one wording
        ("What is the minimum load of a Pico?", "What is the maximum load of a Pico?", True),
        ("スズカゼ電機の社長は誰ですか？", "スズカゼ電機の会長は誰ですか？", True),
        ("Who leads Acme?", "Who is the head of Acme?", False),
    ],
)
def test_wordings_of_one_relation_may_ask_the_same(
    question: str, other: str, otherwise: bool
) -> None:
    assert asks_otherwise(question, other) == asks_otherwise(other, question) == otherwise
    assert one_word_apart(question, other) or not otherwise
