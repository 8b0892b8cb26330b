"""Locality: the share of prompts that no edit is about whose answers did not change at all.

Protocol: each prompt is decoded greedily and freely by the backbone without any edit and by the
edited model; the two texts must be the same, character by character. What is right does not matter
here. MELO and WISE (locality); the same texts of near-misses give near-miss locality.
"""

from __future__ import annotations

from collections.abc import Sequence

from melo_engine.metrics.base import MELO, WISE, EditingMetric
from melo_engine.metrics.text import mean

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: what the backbone alone decodes for the same prompts.
Gives locality, 0..1; nan for no prompt.
"""


class Locality(EditingMetric):
    """See the module."""

    measures = "Share of unrelated prompts answered exactly as the unedited backbone answers them."
    inputs = INPUTS
    papers = (MELO, WISE)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scores = [float(p == r) for p, r in zip(predictions, references, strict=True)]
        return {"locality": mean(scores)}
