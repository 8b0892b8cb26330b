"""Subjects that describe instead of naming, in prompts that describe them in other words.

    subject   "first Indian state to become smoke-free"
    prompt    "What is the smoke-free state of India that came first?"     most of its words: partly named

    subject   "painter", of "Which painter is often taken for Claude Monet?"
    prompt    "Who is the artist that is often taken for Claude Monet?"    most of the question's words

A name stands in a prompt or it does not (`names`). A description may be worded anew, so here most
of its words are enough, whatever their endings. Those in capitals and numbers must all be there: by
them one "first governor of Texas in 1995" is told from another. A subject without a capital or a
number says what kind of thing is asked about, not which: there the question as a whole describes it.
Whether the prompt is about the edit is then for the content of the whole prompt to say (`index`).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from melo_engine.matching.names import words

COMMON = frozenset(
    "a an the of is was were are be been in on at to by with for from and or that this what which who "
    "whom whose where when how did does do has have had it its as s name".split()
)
ORDINALS = frozenset(
    "first second third fourth fifth sixth seventh eighth ninth tenth last".split()
)
STEM = 5  # letters of a word that count: "India" and "Indian" are alike
LEAST = 3  # letters of a word that tells something, and words that must stand where all are small
SHARE = 0.5  # of the words that must stand
_WRITTEN = re.compile(r"[^\W_]+")
_BEGINNING = re.compile(r"(?:^|[.!?]\s+)\W*\w")  # of a sentence


@dataclass(frozen=True, slots=True)
class Description:
    """Stems of a subject's significant words. fixed: all needed in a prompt; need: how many in all."""

    stems: frozenset[str]
    fixed: frozenset[str]
    need: int

    def partly_in(self, stems: frozenset[str]) -> bool:
        """Whether enough of it stands among the stems of a prompt."""
        return self.fixed <= stems and len(self.stems & stems) >= self.need

    @property
    def index_stems(self) -> list[str]:
        """Stems to look it up by: a prompt that has it partly has at least one of them."""
        if self.fixed:
            return [max(sorted(self.fixed), key=len)]
        longest = sorted(self.stems, key=lambda stem: (-len(stem), stem))
        return longest[: len(longest) - self.need + 1]


def describes(name: str) -> Description | None:
    """A subject's description; None where it is a name, of which every word must stand."""
    stems, fixed = set(), set()
    for written in _WRITTEN.findall(name):
        marked = any(c.isupper() or c.isdigit() for c in written) or written in ORDINALS
        for word in words(written):
            if word in COMMON or not (marked or len(word) >= LEAST):
                continue
            stems.add(stem(word))
            if marked:
                fixed.add(stem(word))
    if stems == fixed or len(stems) < 2:
        return None
    least = len(fixed) if fixed else min(LEAST, len(stems))
    need = max(least, math.ceil(SHARE * len(stems)))
    return Description(frozenset(stems), frozenset(fixed), need)


def question_of(prompt: str, names: Sequence[str]) -> str | None:
    """The prompt as a description of its subject, where the subject's names say only of what kind it is.

    None where one of them is a proper name, and where the prompt has too few words to describe
    anything. A capital counts only within a sentence.
    """
    if not names or any(_is_proper_name(name) for name in names):
        return None
    question = _BEGINNING.sub(lambda beginning: beginning.group().lower(), prompt)
    return question if describes(question) else None


def _is_proper_name(name: str) -> bool:
    """Whether it has a capital or a digit; in a script without capitals every name is taken to."""
    return not any(c.islower() for c in name) or any(c.isupper() or c.isdigit() for c in name)


def stem(word: str) -> str:
    """The beginning of a word; all of it where it has digits."""
    return word[:STEM] if word.isalpha() or not any(c.isdigit() for c in word) else word


def stems_of(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words(text))


class DescriptionIndex:
    """From descriptions to the ids of the edits that they bind, which are the caller's integers."""

    def __init__(self) -> None:
        self._members: dict[str, set[int]] = defaultdict(set)  # name -> ids
        self._descriptions: dict[str, Description] = {}
        self._by_stem: dict[str, set[str]] = defaultdict(set)  # stem -> names

    def __len__(self) -> int:
        return len(self._descriptions)

    def add(self, names: Iterable[str], member: int) -> None:
        """Bind those of `names` that describe to `member`."""
        for name in names:
            description = self._descriptions.get(name) or describes(name)
            if description is None:
                continue
            self._descriptions[name] = description
            self._members[name].add(member)
            for part in description.index_stems:
                self._by_stem[part].add(name)

    def remove(self, names: Iterable[str], member: int) -> None:
        """Undo `add`."""
        for name in names:
            if name not in self._descriptions:
                continue
            self._members[name].discard(member)
            if not self._members[name]:
                del self._members[name]
                for part in self._descriptions.pop(name).index_stems:
                    self._by_stem[part].discard(name)

    def find(self, prompt: str) -> set[int]:
        """Ids of all that the prompt names partly."""
        if not self._descriptions:
            return set()
        stems = stems_of(prompt)
        candidates = {name for part in stems for name in self._by_stem.get(part, ())}
        members: set[int] = set()
        for name in candidates:
            if self._descriptions[name].partly_in(stems):
                members |= self._members[name]
        return members
