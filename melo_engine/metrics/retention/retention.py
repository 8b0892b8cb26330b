"""Retention: the share of earlier edits that still answer with their targets after later ones.

Protocol: the prompts of the edits in force *before* a job are decoded greedily and freely after it;
edits that the job replaced on purpose are left out. GRACE (edit retention rate): the figure
that falls when a sequence of edits forgets. Where `edits` names the edit of each prompt, an
edit with many prompts counts once.
"""

from __future__ import annotations

from melo_engine.metrics.base import GRACE, MELO, MatchMetric

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets of the earlier edits, one for each.
edits: ids of those edits, one for each; may be left out.
Gives retention, 0..1; nan for no edit.
"""


class Retention(MatchMetric):
    """See the module."""

    measures = "Share of earlier edits whose prompts still decode freely to their targets."
    inputs = INPUTS
    papers = (GRACE, MELO)
