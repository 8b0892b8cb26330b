"""Which edits a text may be about, by the words that stand in it. Needs no key.

names          the subject or an alias stands in the text      ──► the relation part decides
descriptions   most words of a describing subject, or of the   ──► the content part decides
               whole question, stand in it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from melo_engine.matching.descriptions import DescriptionIndex
from melo_engine.matching.names import RULES as NAME_RULES
from melo_engine.matching.names import SubjectIndex

RULES = NAME_RULES | {"descriptions", "questions"}


@dataclass(frozen=True, slots=True)
class Mention:
    """A known subject that stands in a text. name: as `names.joined` has it; None: partly named.

    members: the caller's integers of the edits that it binds, ascending.
    """

    name: str | None
    members: tuple[int, ...]


class SubjectMatcher:
    """From texts to the edits that they name. Members are small integers of the caller's.

    rules: of `RULES` those that are gone by; all but in measurements.
    """

    def __init__(self, rules: frozenset[str] = RULES) -> None:
        self._rules = rules
        self._names = SubjectIndex(rules)
        self._descriptions = DescriptionIndex()

    def add(self, member: int, names: Sequence[str], descriptions: Iterable[str] = ()) -> None:
        """Bind names, and texts that may stand partly, to a member."""
        self._names.add(names, member)
        self._descriptions.add(self._ruled(names, descriptions), member)

    def remove(self, member: int, names: Sequence[str], descriptions: Iterable[str] = ()) -> None:
        """Undo `add`."""
        self._names.remove(names, member)
        self._descriptions.remove(self._ruled(names, descriptions), member)

    def _ruled(self, names: Sequence[str], descriptions: Iterable[str]) -> list[str]:
        return [
            text
            for text in descriptions
            if ("descriptions" if text in names else "questions") in self._rules
        ]

    def mentions(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The names that stand in each text, longest first; all that are named partly share a mention."""
        return [self._mentions(text) for text in texts]

    def _mentions(self, text: str) -> list[Mention]:
        subjects = self._names.find(text) if len(self._names) else ()
        mentions = [Mention(name, tuple(sorted(ids))) for name, ids in subjects]
        named = {member for mention in mentions for member in mention.members}
        if partly := self._descriptions.find(text) - named:
            mentions.append(Mention(None, tuple(sorted(partly))))
        return mentions
