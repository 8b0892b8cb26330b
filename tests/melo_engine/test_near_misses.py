"""Near-misses are close to an edit and never about what it says."""

from __future__ import annotations

import pytest

from melo_engine import EditRequest
from melo_engine.near_misses import (
    NearMisses,
    about_something,
    other_places,
    same_passage,
    template_for,
    template_of,
)


def request(wording: str, subject: str, target: str) -> EditRequest:
    return EditRequest(wording.replace("[X]", subject), target, subject=subject)


LEADS = request("Who is the leader of [X]?", "Acme", "Ada")
REQUESTS = [
    LEADS,
    request("Who is the leader of [X]?", "Globex", "Jon"),
    request("Which leaders has [X]?", "Initech", "Mia"),
    request("In what city is [X] based?", "Hooli", "Oslo"),
    request("Which river runs through [X]?", "Vienna", "Danube"),
    request("Name the boss at [X].", "Umbrella", "Ada"),
]


@pytest.mark.parametrize(
    ("prompt", "subject", "template"),
    [
        ("Who leads ACME today?", "Acme", "Who leads [X] today?"),
        ("Is C++ old?", "C++", "Is [X] old?"),
        ("Who leads it?", "Acme", None),
        ("Does Acme own Acme's maps?", "acme", "Does [X] own [X]'s maps?"),
        ("Is art a party?", "art", "Is [X] a party?"),
        ("Who are Acmeans?", "Acme", "Who are [X]ans?"),
    ],
)
def test_a_template_is_the_prompt_without_its_subject(prompt, subject, template) -> None:
    assert template_of(prompt, subject) == template


def test_other_relations_share_neither_a_word_nor_an_answer() -> None:
    found = NearMisses(REQUESTS).other_relations(LEADS, 9)
    assert set(found) == {"In what city is Acme based?", "Which river runs through Acme?"}


def test_relations_of_other_edits_of_the_subject_are_left_out() -> None:
    besides = [request("What town or city holds [X]?", "Acme", "Rome")]
    found = NearMisses(REQUESTS).other_relations(LEADS, 9, besides=besides)
    assert found == ["Which river runs through Acme?"]


def test_other_subjects_are_put_into_the_own_wording() -> None:
    found = NearMisses(REQUESTS).other_subjects(LEADS, 3)
    assert len(found) == 3
    assert all(p.startswith("Who is the leader of ") and "Acme" not in p for p in found)
    assert NearMisses(REQUESTS).other_subjects(LEADS, 2, ["ACME", "Zed"]) == [
        "Who is the leader of Zed?"
    ]


def test_a_question_about_something_leaves_the_subject_out_everywhere() -> None:
    twice = request("Does [X] own [X]?", "Acme", "yes")
    assert about_something(twice) == ["Does something own something?"]
    assert about_something(EditRequest("Who leads Acme?", "Ada")) == []


def test_near_misses_are_the_same_for_the_same_seed() -> None:
    one, two = NearMisses(REQUESTS, 3), NearMisses(REQUESTS, 3)
    assert one.other_relations(LEADS, 2) == two.other_relations(LEADS, 2)
    assert one.other_subjects(LEADS, 2) == two.other_subjects(LEADS, 2)


def test_without_a_subject_there_is_nothing_to_put_elsewhere() -> None:
    free = EditRequest("Who leads Acme?", "Ada")
    near = NearMisses([free])
    assert near.other_relations(free, 3) == near.other_subjects(free, 3) == []
    assert template_for(free) is None
    assert template_for(LEADS) == "Who is the leader of [X]?"


@pytest.mark.parametrize(
    ("prompt", "places"),
    [
        ("Acme is old.", ["Acme is old. It"]),
        (
            "A page on Acme. It began in Rome. Was it big? It was. ",
            [
                "A page on Acme. It began in Rome.",
                "A page on Acme. It began in Rome. Was it big?",
                "A page on Acme. It began in Rome. Was it big? It was. It",
            ],
        ),
        (
            "A page on Acme. It is old. Acme lies in",
            [
                "A page on Acme.",
                "A page on Acme. It is old.",
                "A page on Acme. It is old. Acme lies in It",
            ],
        ),
        ("I have a question. Who leads Acme?", []),
        ("The leader of Acme is", []),
    ],
    ids=["one-sentence", "the-last-two", "broken-off", "question", "unfinished"],
)
def test_other_places_of_a_passage_are_where_its_sentences_end(prompt, places) -> None:
    assert other_places(EditRequest(prompt, "It grew.", subject="Acme")) == places


def test_two_places_of_one_passage_are_two_questions() -> None:
    start, later = "Acme is old.", "Acme is old. It grew."
    assert same_passage(start, later)
    assert same_passage(later, start)
    assert same_passage("Acme is", later)
    assert not same_passage(start, start)
    assert not same_passage(start, "Acme is older. It grew.")
    assert not same_passage("Who leads", "Who leads Acme?")
