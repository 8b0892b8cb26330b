"""Retention: the share of earlier edits that still answer with their targets after later ones.

Protocol: the prompts of the edits in force *before* a job are decoded greedily and freely after it;
edits that the job replaced on purpose are left out. GRACE (edit retention rate): the figure
that falls when a sequence of edits forgets. Where `edits` names the edit of each prompt, an
edit with many prompts counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

from melo_engine.metrics.base import GRACE, MELO, EditingMetric
from melo_engine.metrics.text import mean_over_edits, same

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets of the earlier edits, one for each.
edits: ids of those edits, one for each; may be left out.
Gives retention, 0..1; nan for no edit.
"""


class Retention(EditingMetric):
    """See the module."""

    measures = "Share of earlier edits whose prompts still decode freely to their targets."
    inputs = INPUTS
    papers = (GRACE, MELO)

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        edits: Sequence[str] | None = None,
    ) -> dict[str, float]:
        scores = [float(same(p, r)) for p, r in zip(predictions, references, strict=True)]
        return {"retention": mean_over_edits(scores, edits)}
