"""Exact match: the share of texts with the same words as their references.

Protocol: free-running greedy decoding; case, accents, punctuation and spacing are not compared,
articles are. After SQuAD (Rajpurkar et al. 2016), which drops articles as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from melo_engine.metrics.base import SQUAD, EditingMetric
from melo_engine.metrics.text import mean, same

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: the right texts, one for each.
Gives exact_match, 0..1; nan for no text.
"""


class ExactMatch(EditingMetric):
    """See the module."""

    measures = "Share of texts with the same words as their references."
    inputs = INPUTS
    papers = (SQUAD,)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scores = [float(same(p, r)) for p, r in zip(predictions, references, strict=True)]
        return {"exact_match": mean(scores)}
