"""Does any of a few names stand in a prompt? Asked of very many prompts, so most cost no search.

A name can only be found, spelled as it is or with typos, where the prompt has one of its words whole,
a word that is one letter off a one-word name, or its letters under other spacing; a description, where
it has a word of the same stem. That is told from
the prompt's words, each of which is judged once; only what is left is searched as the index does it.
"""

from __future__ import annotations

from collections.abc import Iterable

from melo_engine.matching.descriptions import DescriptionIndex, describes, stem
from melo_engine.matching.names import SubjectIndex, words
from melo_engine.matching.names import joined as glued
from tasks.gate.about import COMMON


class Mentions:
    """names: those to look for. questions: what else describes a subject (`question_of`)."""

    def __init__(self, names: Iterable[str], questions: Iterable[str] = ()) -> None:
        self._index = SubjectIndex()
        self._descriptions = DescriptionIndex()
        self._stems: set[str] = set()
        self._words: set[str] = set()
        self._gaps: set[str] = set()
        self._starts: set[str] = set()
        self._joined: list[str] = []
        self._judged: dict[str, int] = {}  # word as written -> 0 no, 1 maybe under other spacing, 2
        names = list(dict.fromkeys(names))
        for text in (*names, *questions):
            if (description := describes(text)) is not None:
                self._descriptions.add([text], 0)
                self._stems.update(description.filed)
        for name in names:
            self._index.add([name], 0)
            parts = words(name)
            telling = [p for p in parts if p not in COMMON]
            self._words.update(telling if len(telling) > 1 else parts)
            if len(parts) == 1:
                self._gaps |= _gaps(parts[0])
            whole = glued(name)
            self._joined.append(whole)
            self._starts.update(whole[:n] for n in range(1, len(whole) + 1))

    def any_in(self, prompt: str) -> bool:
        """Whether some name may stand in the prompt."""
        if not self._joined:
            return False
        doubt = 0
        for written in prompt.split():
            judged = self._judged.get(written)
            if judged is None:
                judged = self._judged[written] = self._judge(written)
            if judged > doubt:
                doubt = judged
                if doubt == 2:
                    return bool(self._index.find(prompt) or self._descriptions.find(prompt))
        if doubt == 1:
            whole = glued(prompt)
            return any(name in whole for name in self._joined)
        return False

    def _judge(self, written: str) -> int:
        found = words(written)
        if not found:  # signs alone: a name may consist of them
            return 2 if any(name in written.casefold() for name in self._joined) else 0
        for word in found:
            if word in self._words or stem(word) in self._stems:
                return 2
            if self._gaps and _gaps(word) & self._gaps:
                return 2
        whole = "".join(found)
        if any(name in whole for name in self._joined):
            return 2
        return 1 if any(word in self._starts for word in found) else 0


def _gaps(word: str) -> set[str]:
    """The word and every string that lacks one of its letters: words one edit apart share one."""
    return {word} | {word[:i] + word[i + 1 :] for i in range(len(word))}
