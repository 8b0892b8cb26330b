"""A description is found where most of its words stand; names and numbers in it must all be there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melo_engine.matching.descriptions import DescriptionIndex, describes, question_of, stems_of

WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=9)


def finds(name: str, prompt: str) -> bool:
    index = DescriptionIndex()
    index.add([name], 3)
    return index.find(prompt) == {3}


@pytest.mark.parametrize(
    ("subject", "prompt"),
    [
        ("first Indian state to become smoke-free", "Which smoke-free state of India came first?"),
        ("most 70 point games in nba history", "Which NBA player had most games of 70 points?"),
        (
            "the temple after the babylonian captivity",
            "Who rebuilt the temple, captivity at an end, babylonian rule over?",
        ),
    ],
)
def test_most_of_the_words_are_enough_whatever_their_endings(subject: str, prompt: str) -> None:
    assert finds(subject, prompt)


@pytest.mark.parametrize(
    ("subject", "prompt"),
    [
        ("governor of Texas in 1995", "Who was the governor of Ohio in 1995?"),
        ("governor of Texas in 1995", "Who was the governor of Texas in 1996?"),
        ("first woman in space", "Who was the last woman in space?"),
        ("the largest lake of the country by area", "Which lake is deepest?"),
        ("john smith", "Who is john miller?"),
        ("john f miller", "Who is john f smith?"),
        ("Noble Gases", "Which Noble element is named after a stranger?"),
        ("painter", "Which painter was it?"),
        ("Barbosa, Antioquia, Colombia", "Where is Caucasia, Antioquia, Colombia?"),
    ],
)
def test_other_names_and_numbers_are_other_subjects(subject: str, prompt: str) -> None:
    assert not finds(subject, prompt)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORD, min_size=3, max_size=7, unique_by=lambda w: w[:5]), st.data())
def test_the_index_finds_what_looking_at_each_does(parts: list[str], data: st.DataObject) -> None:
    """Words are filed so that no prompt with enough of them is missed."""
    name = " ".join(parts)
    some = data.draw(st.lists(st.sampled_from(parts), unique=True))
    prompt = " ".join(["about", *some])
    description = describes(name)
    if description is None:  # all of the words drawn are common ones
        return
    assert finds(name, prompt) == description.partly_in(stems_of(prompt))


PAINTER = "Which painter is often taken for Claude Monet? Name one."


@pytest.mark.parametrize(
    ("prompt", "names", "found"),
    [
        (PAINTER, ("painter",), "which painter is often taken for Claude Monet? name one."),
        (PAINTER, ("painter", "Edouard Manet"), None),
        (PAINTER, ("painter of 1860",), None),
        (PAINTER, ("画家",), None),  # capitals would tell nothing
        (PAINTER, (), None),
        ("Which painter?", ("painter",), None),
    ],
)
def test_a_question_describes_where_no_name_says_which(prompt, names, found) -> None:
    assert question_of(prompt, names) == found


def test_a_question_is_found_by_half_its_words_and_all_its_names() -> None:
    question = question_of(PAINTER, ("painter",))
    assert question is not None
    assert finds(
        question, "What artist do many confuse, taken by his often used name, with Claude Monet?"
    )
    assert not finds(question, "Which painter is often taken for Claude Lorrain?")


def test_what_is_removed_is_found_no_more() -> None:
    index = DescriptionIndex()
    name, other = "the oldest bridge over the river", "the oldest bridge of the country"
    index.add([name, other], 1)
    index.add([name], 2)
    assert index.find(f"what is {name} ?") == {1, 2}
    index.remove([name, other], 1)
    assert index.find(f"what is {name} ?") == {2}
    index.remove([name], 2)
    assert index.find(f"what is {name} ?") == set()
    assert len(index) == 0
