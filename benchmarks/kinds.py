"""Which protocol fits a file, decided by its rows.

classification   news text and its class: few targets, no subject, no rephrase, no locality
hallucination    passage so far and the right next sentence: long targets, no rephrase
questions        everything else: prompt, short target, rephrases, locality
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal, get_args

from benchmarks.errors import DataError

Kind = Literal["questions", "hallucination", "classification"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_CLASSES, LEAST_ROWS_A_CLASS = 100, 3
SENTENCE = 8  # words; answers to questions have two on average


def kind_of(rows: Sequence[dict[str, Any]]) -> Kind:
    """The kind of a file by its rows, of which there is one at least."""
    if not any(r.get("rephrases") for r in rows):
        targets = {str(r["target"]) for r in rows}
        few = len(targets) <= min(MOST_CLASSES, len(rows) / LEAST_ROWS_A_CLASS)
        if few and len(targets) > 1 and not any(r.get("subject") for r in rows):
            return "classification"
        if statistics.mean(len(str(r["target"]).split()) for r in rows) >= SENTENCE:
            return "hallucination"
    return "questions"


def named_kind(name: str) -> Kind:
    """Raises DataError for a name that is none of KINDS."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise DataError(f'protocol "{name}" is unknown; allowed: {", ".join(KINDS)}.')
