"""Generality: the share of rephrases of edited prompts that are answered with the edits' targets.

Protocol: rephrases that neither training nor calibration has seen, decoded greedily and freely after
the last edit. Where `edits` names the edit that each rephrase belongs to, an edit with many
rephrases counts once. MELO and WISE (generalization).
"""

from __future__ import annotations

from melo_engine.metrics.base import MELO, WISE, MatchMetric

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets of the rephrases' edits, one for each.
edits: ids of those edits, one for each; may be left out.
Gives generality, 0..1; nan for no rephrase.
"""


class Generality(MatchMetric):
    """See the module."""

    measures = "Share of unseen rephrases that decode freely to the targets of their edits."
    inputs = INPUTS
    papers = (MELO, WISE)
