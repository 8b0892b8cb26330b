"""Accurate-retention perplexity (ARR): how sure the edited model still is of what it got right.

Protocol: texts that the backbone was right about before any edit and that no edit is about. Each is
scored by the edited model with its own tokens forced, as perplexity always is; the sums go in here.
GRACE and MELO report it for the hallucination task (SelfCheckGPT biographies of WikiBio). With
`backbone`, the same sums of the unedited backbone, the ratio of the two is given: 1 where nothing
was lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from melo_engine.metrics.base import GRACE, MELO, EditingMetric

INPUTS = """\
predictions: for each text the sum of -log p over its tokens, in nats, by the edited model.
references: for each text the number of its tokens.
backbone: the same sums by the unedited backbone; may be left out.
Gives accurate_retention_perplexity, >= 1, over all tokens; with backbone also perplexity_ratio.
nan where there is no token.
"""


class AccurateRetentionPerplexity(EditingMetric):
    """See the module."""

    measures = "Perplexity of the edited model on texts that the backbone was right about."
    inputs = INPUTS
    papers = (GRACE, MELO)
    types = ("float64", "int64")

    def _compute(
        self,
        predictions: Sequence[float],
        references: Sequence[int],
        backbone: Sequence[float] | None = None,
    ) -> dict[str, float]:
        tokens = sum(references)
        scores = {"accurate_retention_perplexity": _perplexity(predictions, tokens)}
        if backbone is not None:
            if len(backbone) != len(predictions):
                raise ValueError(
                    f"{len(backbone)} sums of the backbone for {len(predictions)} texts; "
                    "give one for each."
                )
            scores["perplexity_ratio"] = scores["accurate_retention_perplexity"] / _perplexity(
                backbone, tokens
            )
        return scores


def _perplexity(sums: Sequence[float], tokens: int) -> float:
    if tokens <= 0:
        return math.nan
    mean = sum(sums) / tokens
    return math.inf if mean > 700 else math.exp(mean)  # nan stays nan
