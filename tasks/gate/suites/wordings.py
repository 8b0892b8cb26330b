"""Is an edit really about a prompt? What tells a near-miss from a question that has its own edit.

A prompt is an edit's own question where one of the edit's names stands in it and, with the name
taken out, what is left is the edit's own wording (of its prompt or a rephrase), or shares a content
word with one. So "Who directed Solaris?" and "Solaris was directed by whom?" ask the same of the
same subject, and an edit that answers both is right to; "Who directed Solaris?" and "In what year
was Solaris released?" do not. Where in doubt, a prompt counts as the edit's own: it then is no
near-miss, and condemns nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from melo_engine import EditRequest
from melo_engine.matching import descriptions
from melo_engine.matching.names import words
from melo_engine.near_misses import SLOT, template_of

COMMON = descriptions.COMMON | {"tell", "me", "please"}


class SuiteWordings:
    """The wordings of one edit: its prompt and rephrases, with the subject taken out."""

    def __init__(self, request: EditRequest, held_out: Iterable[str] = ()) -> None:
        prompts = [request.question, *request.rephrases, *held_out]
        self.names = request.names
        self._questions = {_plain(p) for p in prompts}
        self.templates = {t for p in prompts for n in self.names if (t := template_of(p, n))}
        self._plain = {_plain(t) for t in self.templates}
        self._stems = frozenset().union(*(stems(t) for t in self.templates))

    def ask(self, prompt: str) -> bool:
        """Whether the prompt is this edit's own question."""
        if _plain(prompt) in self._questions:
            return True
        for name in self.names:
            template = template_of(prompt, name)
            if template is not None:
                return _plain(template) in self._plain or bool(stems(template) & self._stems)
        return False

    def alike(self, template: str) -> bool:
        """Whether a wording with `[X]` for the subject may ask for the same relation."""
        content = stems(template)
        return not content or bool(content & self._stems) or _plain(template) in self._plain


@lru_cache(maxsize=100_000)
def stems(template: str) -> frozenset[str]:
    """First letters of the content words of a wording, its `[X]` aside."""
    return frozenset(
        w[: descriptions.STEM] for w in words(template.replace(SLOT, " ")) if w not in COMMON
    )


def swap(template: str, name: str) -> str:
    """The wording about `name`."""
    return template.replace(SLOT, name)


def own_template(request: EditRequest) -> str | None:
    """The edit's prompt with `[X]` for its subject, None where it is not bound to one."""
    return template_of(request.question, request.subject) if request.subject else None


def says(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text, word for word."""
    sought, tokens = words(phrase), words(text)
    if not sought:
        return bool(phrase.strip()) and phrase.strip().casefold() in text.casefold()
    size = len(sought)
    return any(tokens[i : i + size] == sought for i in range(len(tokens) - size + 1))


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()
