"""How the words of a text are spelled: what taggers read beside states or letters."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

SPELLING = 6  # features of a token's spelling

_NO_WORD = (0.0, 0.0, 0.0, 0.0)
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_SENTENCE_END = re.compile("[.!?。？！¿¡:]")


def spelling(text: str, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """How the word is spelled that each token lies in, (T, S): begins with a capital; all capitals; has
    a digit; first of its sentence; in a text that tells names by capitals at all; both of the outer."""
    words: list[tuple[int, int, tuple[float, float, float, float]]] = []
    behind = 0
    for match in _WORD.finditer(text):
        word, gap = match.group(), text[behind : match.start()]
        first = behind == 0 or bool(_SENTENCE_END.search(gap))
        capitals = len(word) > 1 and word.isupper()
        digits = any(c.isdigit() for c in word)
        said = (float(word[0].isupper()), float(capitals), float(digits), float(first))
        words.append((match.start(), match.end(), said))
        behind = match.end()
    telling = float(any(said[0] and not said[3] for _, _, said in words))
    rows = []
    for begin, end in offsets:
        said = next((s for a, b, s in words if a < end and begin < b and begin < end), _NO_WORD)
        rows.append((*said, telling, said[0] * telling))
    return torch.tensor(rows).reshape(-1, SPELLING)
