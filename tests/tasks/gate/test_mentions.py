"""Names that stand in a prompt are found by the quick look as by the index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melo_engine.matching.descriptions import DescriptionIndex
from melo_engine.matching.names import SubjectIndex
from tasks.gate.mentions import Mentions

DESCRIBED = ("oldest stone bridge of the country", "first smoke-free state of India")
NAMES = (
    *DESCRIBED,
    "Volvo B12M",
    "The Who",
    "Solaris",
    "Call the Doctor",
    "José Núñez",
    "C++",
    "Bay of Pigs",
)
WORDS = st.sampled_from(
    [*" ".join(NAMES).split(), "Indian", "states", "Volvo-B12M", "B", "12M", "Solariss", "Soalris",
     "Docter", "Bey", "who", "the", "of", "runs", "Nunez", "joze", "?", "Volv", "o"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "stands"),
    [
        ("Who made the Volvo B12M?", True),
        ("Who made the volvo-b 12 m?", True),
        ("Who made the Volvo B13M?", False),
        ("Who directed Solarsi?", True),
        ("Who is Jose Nunez's father?", True),
        ("Who wrote C++?", True),
        ("What is the capital of Norway?", False),
        ("Which bridge of stone is oldest?", True),
        ("Which Indian state was first?", True),
        ("Which state of Norway was first?", False),
    ],
)
def test_a_name_is_found_whatever_its_spelling(prompt: str, stands: bool):
    assert Mentions(NAMES).any_in(prompt) is stands


def test_a_question_is_found_by_its_words() -> None:
    look = Mentions(["painter"], ["which painter is often taken for Claude Monet?"])
    assert look.any_in("Who is often taken for Claude Monet?")
    assert not look.any_in("Who is often taken for Claude Lorrain?")


@given(st.lists(WORDS, min_size=1, max_size=8), st.sets(st.sampled_from(NAMES), min_size=1))
def test_what_the_index_finds_the_quick_look_finds(words: list[str], names: set[str]):
    prompt = " ".join(words)
    index, described = SubjectIndex(), DescriptionIndex()
    for number, name in enumerate(sorted(names)):
        index.add([name], number)
        described.add([name], number)
    if index.find(prompt) or described.find(prompt):
        assert Mentions(sorted(names)).any_in(prompt)
