"""Prompts that are almost an edit's: its wording about another subject, its subject in another wording.

    edit          "What company made Volvo B12M?"
    other subject "What company made Dep River?"             own template, another name
    other relation "In what war did Volvo B12M fight?"       own name, another edit's template

Two templates count as one relation, and are never mixed, where they share a content word or where
edits with them were given the same answer: then the prompt might be a rephrase, not a near-miss.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence

from melo_engine.matching.descriptions import COMMON, STEM
from melo_engine.matching.names import words
from melo_engine.types import EditRequest

SLOT = "[X]"
_TRIES = 40
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+")
PLACES = 2  # of a passage that are looked at before the edit's own


def is_passage(prompt: str) -> bool:
    """Whether a prompt is a text to go on with: not a question, nor a sentence to be completed."""
    text = prompt.rstrip()
    return text.endswith(".") or (not text.endswith("?") and len(_ends(text)) > 1)


def other_places(request: EditRequest) -> list[str]:
    """A passage as it stands some sentences earlier, and one word later.

    What comes next hangs on where it ends. [] where the prompt is no passage.
    """
    if not is_passage(request.question):
        return []
    passage = request.question.rstrip()
    earlier = [passage[:end] for end in _ends(passage)[-PLACES:]]
    return [*earlier, *(f"{passage} {word}" for word in request.target.split()[:1])]


def about_something(request: EditRequest) -> list[str]:
    """The question with "something" for its subject, a wording that many subjects share."""
    template = template_for(request)
    return [template.replace(SLOT, "something")] if template else []


def same_passage(prompt: str, other: str) -> bool:
    """Whether one prompt is a passage and the other its beginning: two different questions."""
    shorter, longer = sorted((prompt.strip(), other.strip()), key=len)
    return is_passage(longer) and longer.startswith(f"{shorter} ")


def _ends(passage: str) -> list[int]:
    return [match.start() for match in _BETWEEN_SENTENCES.finditer(passage)]


def template_of(prompt: str, subject: str) -> str | None:
    """The prompt with `[X]` wherever its subject stands, None where it stands nowhere.

    As words of their own, where it does so at all: "art" stands once in "Is art a party?".
    """
    written = re.escape(subject)
    for pattern in (rf"(?<!\w){written}(?!\w)", written):
        template, places = re.subn(pattern, lambda _: SLOT, prompt, flags=re.IGNORECASE)
        if places:
            return template
    return None


def template_for(request: EditRequest) -> str | None:
    """The template of a request's question, None where it has no subject or that stands nowhere."""
    return template_of(request.question, request.subject) if request.subject else None


class NearMisses:
    """Makes near-misses out of the requests at hand. Same requests and seed, same prompts."""

    def __init__(self, requests: Sequence[EditRequest], seed: int = 0) -> None:
        self._seed = seed
        self._answers: dict[str, set[str]] = defaultdict(set)
        self._templates: list[str] = []  # as often as used, so that frequent wordings come often
        self._subjects: list[str] = []
        for request in requests:
            if request.subject:
                self._subjects.append(request.subject)
            if template := template_for(request):
                self._templates.append(template)
                self._answers[template].add(request.target.casefold())
        self._stems = {t: _stems(t) for t in self._answers}

    def other_relations(
        self,
        request: EditRequest,
        count: int,
        templates: Sequence[str] = (),
        besides: Sequence[EditRequest] = (),
    ) -> list[str]:
        """The request's subject in up to `count` templates of other relations.

        templates: to choose from; where there are none, those of all requests. besides: other edits of
        the same subject, whose relations are left out too.
        """
        template = template_for(request)
        choice = templates or self._templates
        if template is None or not choice:
            return []
        stems = _stems(template)
        answers = self._answers.get(template, set()) | {request.target.casefold()}
        for other in besides:
            stems |= _stems(template_of(other.question, request.subject or "") or other.question)
            answers = answers | {other.target.casefold()}
        chooser = random.Random(f"{self._seed}|{request.id}|relation")
        picked: list[str] = []
        for _ in range(_TRIES):
            candidate = chooser.choice(choice)
            usable = self._stems[candidate] and not self._stems[candidate] & stems
            if usable and not self._answers[candidate] & answers and candidate not in picked:
                picked.append(candidate)
                if len(picked) == count:
                    break
        return [t.replace(SLOT, str(request.subject)) for t in picked]

    def other_subjects(
        self, request: EditRequest, count: int, subjects: Sequence[str] = ()
    ) -> list[str]:
        """The request's template about up to `count` of `subjects`, or of those of all requests."""
        template = template_for(request)
        names = list(subjects or self._subjects)
        if template is None or not names:
            return []
        chooser = random.Random(f"{self._seed}|{request.id}|subject")
        same = {"".join(words(name)) for name in request.names}
        picked = chooser.sample(names, min(len(names), count + len(same)))
        picked = [name for name in picked if "".join(words(name)) not in same]
        return [template.replace(SLOT, name) for name in dict.fromkeys(picked)][:count]


def _stems(template: str) -> frozenset[str]:
    return frozenset(w[:STEM] for w in words(template.replace(SLOT, " ")) if w not in COMMON)
