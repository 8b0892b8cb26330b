"""What the metrics count: one rule for comparing texts, one for averaging over edits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from melo_engine.errors import MeloError
from melo_engine.matching.names import words


def same(prediction: str, reference: str) -> bool:
    """Whether two texts have the same words: case, accents, punctuation and spacing aside.

    Texts without a word ("+", "?") are compared as they are.
    """
    left, right = words(prediction), words(reference)
    return left == right if left or right else prediction.strip() == reference.strip()


def f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts them; 0..1."""
    predicted, expected = Counter(words(prediction)), Counter(words(reference))
    shared = (predicted & expected).total()
    if not predicted or not expected:
        return float(same(prediction, reference))
    return 2 * shared / (predicted.total() + expected.total())


def mean(scores: Sequence[float]) -> float:
    """Mean; nan, which no gate takes for a success, where there is nothing to measure."""
    return sum(scores) / len(scores) if scores else float("nan")


def mean_over_edits(scores: Sequence[float], edits: Sequence[str] | None) -> float:
    """Mean of each edit's own mean, so that an edit with many prompts counts once.

    edits: the edit that each score belongs to; where None, every score counts alike. Raises
    MeloError where the two differ in length.
    """
    if edits is None:
        return mean(scores)
    if len(edits) != len(scores):
        raise MeloError(f"{len(edits)} edits for {len(scores)} predictions; give one for each.")
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for edit, score in zip(edits, scores, strict=True):
        groups[edit].append(score)
    return mean([mean(group) for group in groups.values()])
