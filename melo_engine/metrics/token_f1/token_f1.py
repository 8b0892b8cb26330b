"""Token F1: how many words a text shares with its reference.

Protocol: free-running greedy decoding; words without case, accents and punctuation, counted as
often as they stand there; the mean over texts. SQuAD (Rajpurkar et al. 2016); GRACE and MELO report
it for question answering.
"""

from __future__ import annotations

from collections.abc import Sequence

from melo_engine.metrics.base import GRACE, SQUAD, EditingMetric
from melo_engine.metrics.text import f1, mean

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: the right texts, one for each.
Gives token_f1, 0..1; nan for no text.
"""


class TokenF1(EditingMetric):
    """See the module."""

    measures = "Mean F1 of words between texts and references."
    inputs = INPUTS
    papers = (SQUAD, GRACE)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scores = [f1(p, r) for p, r in zip(predictions, references, strict=True)]
        return {"token_f1": mean(scores)}
