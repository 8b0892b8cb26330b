"""Edit success (reliability): the share of edited prompts that are answered with their targets.

Protocol: after the *last* edit of the sequence, each edit's own prompt is decoded greedily and
freely, alone or in any batch, and compared with its target word by word. MELO calls it edit success,
GRACE edit retention when measured at the end, WISE reliability. Those papers force the target's
tokens and compare each; a forced text can score 1.0 and still loop when it is decoded, so this
module never does.
"""

from __future__ import annotations

from melo_engine.metrics.base import GRACE, MELO, WISE, MatchMetric

INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets, one for each.
Gives edit_success, 0..1; nan for no edit.
"""


class EditSuccess(MatchMetric):
    """See the module."""

    measures = "Share of edited prompts that decode freely to their targets."
    inputs = INPUTS
    papers = (MELO, GRACE, WISE)
