"""Exact match: the share of texts with the same words as their references.

Protocol: free-running greedy decoding; case, accents, punctuation and spacing are not compared,
articles are. After SQuAD (Rajpurkar et al. 2016), which drops articles as well.
"""

from __future__ import annotations

from melo_engine.metrics.base import SQUAD, MatchMetric

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: the right texts, one for each.
Gives exact_match, 0..1; nan for no text.
"""


class ExactMatch(MatchMetric):
    """See the module."""

    measures = "Share of texts with the same words as their references."
    inputs = INPUTS
    papers = (SQUAD,)
