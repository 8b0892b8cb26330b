"""Which words of a text are its subject, from the log odds of its tokens."""

from __future__ import annotations

import re

import pytest

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
        ("谁是诺维克的母亲？", ["诺", "维"], ["克"], "诺维克"),
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
