"""The right answer that a comment seems to hold: a proposal for a person, never an answer by itself.

    "should be Oslo"                          Oslo
    "wrong! The correct answer is 4."         4
    "it's Goethe, not Schiller"               Goethe
    "not Bergen but Oslo"                     Oslo
    "Oslo instead of Bergen"                  Oslo
    "this is nonsense"                        none

English phrases only. What follows the phrase up to the end of its sentence is proposed, without what
is contrasted with it ("not ...", "instead of ...").
"""

from __future__ import annotations

import re

LONGEST = 200  # characters of a proposal
_RIGHT = "(?:right|correct|true|actual|proper|expected)"
_PHRASES = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"\bnot\s+[^,.;\n]{1,80}?,?\s+but\s+(?:rather\s+)?(?P<answer>.+)",
        r"\b(?:should|must|ought\s+to|has\s+to|needs\s+to)\s+(?:have\s+)?(?:be(?:en)?|say|said|read|answer)\b:?"
        r"\s+(?P<answer>.+)",
        rf"\b{_RIGHT}\s+(?:answer|one|value|name|response|output)(?:\s+(?:is|was|would\s+be))?\b\s*:?\s*"
        r"(?P<answer>.+)",
        rf"\b(?:{_RIGHT}|correction|answer|expected)\s*:\s*(?P<answer>.+)",
        r"\b(?:it|this|that|he|she)(?:['\u2019]s|\s+is|\s+was)\s+(?:actually\s+|really\s+)?"
        r"(?P<answer>[^.;\n]+?),?\s+(?:and\s+)?not\s+.+",
        r"^\W*(?P<answer>[^.;,\n]{1,80}?)\s+(?:instead\s+of|rather\s+than)\s+.+",
    )
)
_SENTENCE_ENDS = re.compile(r"[.!?](?=\s|$)|[;\n]")
_CONTRAST = re.compile(
    r"(?:,\s*(?:and\s+)?not\b|\s+(?:instead\s+of|rather\s+than|because)\b|\s+-\s|\s+\().*",
    re.IGNORECASE | re.DOTALL,
)
_AROUND = " \t\r\n,:.!\"'`*\u201c\u201d\u2018\u2019"


def proposed_answer(comment: str) -> str | None:
    """The right answer that a comment seems to hold, None where no phrase of the above is in it."""
    for phrase in _PHRASES:
        if match := phrase.search(comment):
            sentence = _SENTENCE_ENDS.split(match["answer"].lstrip(), maxsplit=1)[0]
            answer = _CONTRAST.sub("", sentence).strip(_AROUND)
            if any(map(str.isalnum, answer)):
                return answer if len(answer) <= LONGEST else None
    return None
