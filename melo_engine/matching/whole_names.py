"""The whole of a name of which a part is known, from two texts in which it stands.

    question   "What company produced Remington Model 51?"     known as "Model 51"
    text       "Who designed Remington Model 51?"              stands in both: "Remington Model 51"

Where a subject was inferred, it may be half a name. Both texts say alike what stands around it. A name
goes on as far as they do, and ends in words with a capital or a digit, since "the capital of" is said
alike as well. Where a question tells no names by capitals, a part stays a part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from melo_engine.matching.names import joined

_TOKEN = re.compile(r"\w+|[^\w\s]")
_ENDS = frozenset("?!。？！؟")  # of sentences, which no name goes beyond


def whole_name(question: str, text: str, name: str) -> str | None:
    """The longer name that stands in both texts around `name`, both as `joined` has them; else None."""
    ours, theirs = list(_TOKEN.finditer(question)), list(_TOKEN.finditer(text))
    if not any(token.group().islower() for token in ours):
        return None
    own, other = _place(ours, name), _place(theirs, name)
    if own is None or other is None or own[1] - own[0] != other[1] - other[0]:
        return None
    before = _alike(ours[: own[0]][::-1], theirs[: other[0]][::-1])
    behind = _alike(ours[own[1] :], theirs[other[1] :])
    while before and (own[0] == before or not _begins_a_name(ours[own[0] - before])):
        before -= 1
    while behind and not _begins_a_name(ours[own[1] + behind - 1]):
        behind -= 1
    if not before and not behind:
        return None
    return joined(question[ours[own[0] - before].start() : ours[own[1] + behind - 1].end()])


def _place(tokens: Sequence[re.Match[str]], name: str) -> tuple[int, int] | None:
    """Where a name stands last: [first, end) in tokens."""
    folded = [joined(token.group()) if token.group()[0].isalnum() else "" for token in tokens]
    for first in range(len(tokens) - 1, -1, -1):
        glued = ""
        for end in range(first, len(tokens)):
            glued += folded[end]
            if glued == name and folded[first] and folded[end]:
                return first, end + 1
            if not name.startswith(glued):
                break
    return None


def _alike(ours: Sequence[re.Match[str]], theirs: Sequence[re.Match[str]]) -> int:
    """How many of the first tokens are the same in both, within a sentence."""
    count = 0
    for own, other in zip(ours, theirs, strict=False):
        if own.group().casefold() != other.group().casefold() or own.group() in _ENDS:
            break
        count += 1
    return count


def _begins_a_name(token: re.Match[str]) -> bool:
    return token.group()[0].isupper() or token.group()[0].isdigit()
