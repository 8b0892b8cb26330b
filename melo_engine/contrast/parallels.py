"""Questions that are worded alike but for what they ask.

"What command starts the Brindle daemon?"    one word in the other's place: two questions
"What command stops the Brindle daemon?"

Keys put such questions close together, closer than many wordings of one question are. So whoever asks the
second is not answered with the first, and who reports both means both.
"""

from __future__ import annotations

import re

from melo_engine.contrast.corpus import said_for_each_other
from melo_engine.matching.descriptions import COMMON
from melo_engine.matching.names import are_two_words, edit_distance, is_form, words

ENDING = 2  # letters that a form of a word may have more: "work" and "worked"
ENDING_LENGTH = 4  # of such a word
TYPO_LENGTH = 5  # letters of a word from which on one wrong letter is a typo: "CTO" is not "CFO"
_PARTICLE = re.compile("[\u3041-\u309f]")  # hiragana: what a Japanese sentence is held together by


def one_word_apart(question: str, other: str) -> bool:
    """Whether two questions differ in one word only, and that one tells something in both.

    Forms of one word, typos, and words such as "is" and "was" don't tell anything apart. Texts of
    scripts without spaces are compared sign by sign.
    """
    return _telling_words(question, other) is not None


def asks_otherwise(question: str, other: str) -> bool:
    """Whether two questions are one word apart, and the corpus does not say one word for the other.

    Who asks for the "endangered status" may be answered with the "conservation status".
    """
    telling = _telling_words(question, other)
    if telling is None:
        return False
    if min(map(len, telling)) == 1:  # a sign of a script without spaces
        return True
    return not said_for_each_other(*telling)


def _telling_words(question: str, other: str) -> tuple[str, str] | None:
    """The words in which two questions differ, where they are one of each that tell something."""
    ours, theirs = words(question), words(other)
    if len(ours) != len(theirs):
        return None
    apart = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return apart[0] if len(apart) == 1 and not _tell_the_same(*apart[0]) else None


def _tell_the_same(word: str, other: str) -> bool:
    if {word, other} & COMMON or _PARTICLE.match(word) or _PARTICLE.match(other):
        return True
    if is_form(word, other) or is_form(other, word):
        return True
    short, long = sorted((word, other), key=len)
    if len(short) >= ENDING_LENGTH and long.startswith(short) and len(long) - len(short) <= ENDING:
        return True
    if edit_distance(word, other, 1) > 1 or are_two_words(word, other):
        return False
    swapped = word.isalpha() and sorted(word) == sorted(other)  # "prot" for "port"
    return swapped or max(len(word), len(other)) >= TYPO_LENGTH
