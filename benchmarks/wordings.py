"""Which wordings of a file ask the same, by what the file itself gives as rephrases.

    a row      "Lisbon is a twin city of", rephrased "What is the twin city of Lisbon? It is"
    so alike   "[X] is a twin city of"  and  "What is the twin city of [X]? It is"

Only what a row says directly counts: over several rows a vague wording ("[X], from") would join questions
that differ. A rephrase may stand behind a stray sentence, which says nothing about the question: of
a prompt the last sentence counts, with what follows it, in which its subject stands.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from melo_engine import EditRequest
from melo_engine.matching.names import words
from melo_engine.near_misses import SLOT, template_of

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'])\s+")

Wording = tuple[str, ...]
Pair = tuple[EditRequest, Sequence[str]]  # a row's request and its rephrases


class KnownWordings:
    """Pairs of wordings that some row gives as one question."""

    def __init__(self, rows: Iterable[Pair]) -> None:
        self._pairs: set[frozenset[Wording | None]] = set()
        for request, rephrases in rows:
            question = wording(request.question, request.subject)
            for rephrase in rephrases:
                self._pairs.add(frozenset((question, wording(rephrase, request.subject))))

    def alike(self, left: Wording | None, right: Wording | None) -> bool:
        """Whether two wordings ask the same."""
        if left is None or right is None:
            return False
        return left == right or frozenset((left, right)) in self._pairs


def wording(prompt: str, subject: str | None) -> Wording | None:
    """The words of a prompt's last sentence about its subject, `[X]` for the subject; None without it."""
    sentences = _BETWEEN_SENTENCES.split(prompt.strip())
    for first in range(len(sentences) - 1, -1, -1):
        template = template_of(" ".join(sentences[first:]), subject) if subject else None
        if template is not None:
            before, _, after = template.partition(SLOT)
            return (*words(before), SLOT, *words(after))
    return None


def asking_the_same(
    prompts: Iterable[str], edits: Sequence[EditRequest], pairs: KnownWordings
) -> frozenset[str]:
    """The prompts that ask what an edit asks: about its subject, in another of its wordings."""
    by_name: defaultdict[tuple[str, ...], list[EditRequest]] = defaultdict(list)
    for request in edits:
        if request.subject:
            by_name[tuple(words(request.subject))].append(request)
    longest = max(map(len, by_name), default=0)
    matches = set()
    for prompt in prompts:
        prompt_words = words(prompt)
        named = (
            request
            for start in range(len(prompt_words))
            for end in range(start + 1, min(start + longest, len(prompt_words)) + 1)
            for request in by_name.get(tuple(prompt_words[start:end]), ())
        )
        if any(
            pairs.alike(wording(prompt, r.subject), wording(r.question, r.subject)) for r in named
        ):
            matches.add(prompt)
    return frozenset(matches)
