"""Whether a subject may stand in a prompt: a first look, when a report comes in.

The look is lenient. It refuses only what no way of finding subjects could find, so that a report is
never turned away wrongly; where a subject stands exactly, and how far an edit of it reaches, is for the
editor to say.

    "Norwik Zachodni"  in  "Kto kieruje Norwikiem Zachodnim?"    each word begins alike: inflected
    "東京支店"          in  "東京支店の店長は誰ですか"                 a run of letters: no spaces
    "Tampere"          in  "Missä on Tamperen toimisto?"          a typo
    "United Kingdom"   in  "Who is the PM of the UK?"             no
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rapidfuzz.distance import OSA, Prefix

_WORD = re.compile(r"[^\W_]+")
MIN_WORD = 3  # letters of a word that counts in a name of several


def subject_may_stand_in(prompt: str, names: Iterable[str]) -> bool:
    """Whether one of a subject's names may be named in a prompt, in whatever form.

    True where the letters of a name stand in a row in the prompt, spaces, case, accents and width aside,
    or where words that make up half a name's letters have a counterpart: one that begins alike, contains
    it, or differs by a typo. A name without letters or digits must stand as it is.
    """
    folded = _folded(prompt)
    words = set(_WORD.findall(folded))
    run = "".join(_WORD.findall(folded))
    return any(_may_stand(_folded(name), folded, run, words) for name in names)


def _may_stand(name: str, prompt: str, run: str, prompt_words: set[str]) -> bool:
    words = _WORD.findall(name)
    if not words:
        return name.strip() in prompt
    if "".join(words) in run:
        return True
    content = [w for w in words if len(w) >= MIN_WORD or w.isdigit() or not w.isascii()] or words
    matched = [word for word in content if any(_alike(word, other) for other in prompt_words)]
    return 2 * sum(map(len, matched)) >= sum(map(len, content))


def _alike(word: str, other: str) -> bool:
    """Whether a word of a prompt may be a form of a name's word."""
    if word.isdigit() or other.isdigit():
        return word == other
    common = int(Prefix.similarity(word, other))
    short, long = sorted((len(word), len(other)))
    if common >= min(MIN_WORD, short) and 2 * common >= len(word):
        return True
    if len(word) >= MIN_WORD and (word in other or (word[1:] in other and len(word) > MIN_WORD)):
        return True  # a compound, or what languages put before a word or change at its beginning
    return (
        short > MIN_WORD and long - short <= 2 and int(OSA.distance(word, other)) <= 1 + (long > 7)
    )


def _folded(text: str) -> str:
    """Case, width and accents aside, and without what is not seen."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text).casefold().replace("ı", "i")
    return "".join(
        c
        for c in unicodedata.normalize("NFKD", text)
        if unicodedata.category(c) not in ("Mn", "Cf")
    )
