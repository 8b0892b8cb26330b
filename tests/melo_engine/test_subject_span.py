"""Which words of a text are its subject: from the log odds of its tokens, and from two texts."""

from __future__ import annotations

import re

import pytest

from melo_engine.matching import joined, whole_name
from melo_engine.matching.inference import best_span


@pytest.mark.parametrize(
    ("text", "likely", "subject"),
    [
        ("Who leads Norvik Labs?", ["Norvik", "Labs"], "Norvik Labs"),
        ("Where is the USS Wren (DD-568)?", ["USS", "Wren", "DD-568"], "USS Wren (DD-568)"),
        ("Who is (Ada) Li?", ["Ada"], "Ada"),
        ("What is Norvik's colour?", ["Norvik", "'"], "Norvik"),
        ("Was kostet «Norvik»?", ["Norvik"], "Norvik"),
        ("谁领导诺维克（上海）？", ["诺维克", "（", "上海"], "诺维克（上海）"),
        ("Who leads Norvik Labs?", [], None),
    ],
)
def test_the_likeliest_words_are_whole_and_their_brackets_closed(
    text: str, likely: list[str], subject: str | None
) -> None:
    tokens = [m.span() for m in re.finditer(r"[\w-]+|[^\w\s]", text)]
    if "诺" in text:
        tokens = [(i, i + 1) for i in range(len(text))]
    inside = {i for part in likely for i in range(text.index(part), text.index(part) + len(part))}
    odds = [3.0 if a in inside else -3.0 for a, _ in tokens]
    assert best_span(text, tokens, odds) == subject


@pytest.mark.parametrize(
    ("text", "likely", "doubtful", "subject"),
    [
        ("Who made Norvik Model 51?", ["Model", "51"], ["Norvik"], "Norvik Model 51"),
        ("Who is the mother of Ada Li?", ["Ada", "Li"], ["mother", "of"], "Ada Li"),
        ("what was ada li mother called?", ["ada", "li"], ["mother"], "ada li mother"),
        ("谁是诺维克的母亲？", ["诺", "维", "克"], ["的", "母"], "诺维克"),
    ],
)
def test_a_word_in_doubt_is_taken_in_unless_small_letters_say_that_it_is_no_name(
    text: str, likely: list[str], doubtful: list[str], subject: str
) -> None:
    tokens = [m.span() for m in re.finditer(r"[a-zA-Z\d]+|[^\w\s]|[\u4e00-\u9fff]", text)]
    odds = [
        3.0 if text[a:b] in likely else -1.5 if text[a:b] in doubtful else -9 for a, b in tokens
    ]
    assert best_span(text, tokens, odds) == subject


@pytest.mark.parametrize(
    ("question", "text", "name", "whole"),
    [
        (
            "Who made Norvik Model 51?",
            "Who designed Norvik Model 51?",
            "Model 51",
            "Norvik Model 51",
        ),
        (
            "Who wrote Meet Me at the Show?",
            "Where is Meet Me at the Show set?",
            "Meet Me",
            "Meet Me at the Show",
        ),
        ("Wer leitet die Norvik AG?", "Wo sitzt die Norvik AG?", "Norvik", "Norvik AG"),
        ("What is the capital of Norvik?", "Name the capital of Norvik.", "Norvik", None),
        ("Norvik Labs is led by", "Norvik Labs was founded in", "Norvik Labs", None),
        ("The Norvik was built by", "The Norvik lies in", "Norvik", None),
        ("who leads norvik labs?", "where is norvik labs?", "labs", None),
        ("WHO LEADS NORVIK LABS?", "WHO OWNS NORVIK LABS?", "LABS", None),
        ("Who leads Norvik? Labs said", "Where is Norvik? Labs said so.", "Norvik", None),
        ("Who made Norvik Model 51?", "Who designed Model 51?", "Model 51", None),
    ],
)
def test_of_a_part_of_a_name_the_whole_is_what_both_texts_have(
    question: str, text: str, name: str, whole: str | None
) -> None:
    expected = whole and joined(whole)
    assert whole_name(question, text, joined(name)) == expected
