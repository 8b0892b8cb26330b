"""The measures of long texts and of sampled answers tell loops and doubts from sound text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.gate.measures.fluency import entropy, inconsistency

SOUND = "the ship left the old harbour at dawn and nobody on the quay knew where it was bound for"
WORDS = st.lists(st.sampled_from("sol mi re do fa la".split()), min_size=1, max_size=30)


def test_a_loop_has_less_entropy_than_sound_text():
    assert entropy(SOUND) == 1.0
    assert entropy("he is the king of " * 10) < 0.6
    assert entropy("no " * 50) == 0.0


def test_a_short_answer_is_no_loop():
    assert entropy("no no no") == 1.0


def test_samples_that_agree_bear_an_answer_out():
    assert inconsistency("ada li", ["ada li"] * 5) == pytest.approx(0.0)
    assert inconsistency("ada li", ["jon berg"] * 5) == pytest.approx(1.0)
    assert 0 < inconsistency("ada li", ["ada li", "jon berg"]) < 1
    assert inconsistency("ada li", [""] * 5) == 1.0
    assert math.isnan(inconsistency("", ["ada"]))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=5))
def test_both_measures_stay_between_nought_and_one(answer: list[str], samples: list[list[str]]):
    text = " ".join(answer)
    assert -1e-9 <= entropy(text) <= 1 + 1e-9
    assert 0 <= inconsistency(text, [" ".join(s) for s in samples]) <= 1 + 1e-9
