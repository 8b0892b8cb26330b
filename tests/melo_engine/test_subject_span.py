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
