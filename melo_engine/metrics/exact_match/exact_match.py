"""Exact match: the share of texts with the same words as their references.

Protocol: free-running greedy decoding; case, accents, punctuation and spacing are not compared,
articles are. After SQuAD (Rajpurkar et al. 2016), which drops articles as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from melo_engine.metrics.text import mean, same

CITATION = """\
@inproceedings{rajpurkar2016squad,
  title={SQuAD: 100,000+ Questions for Machine Comprehension of Text},
  author={Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle={EMNLP}, year={2016}
}
"""
DESCRIPTION = "Share of texts with the same words as their references."
INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: the right texts, one for each.
Gives exact_match, 0..1; nan for no text.
"""


class ExactMatch(evaluate.Metric):  # type: ignore[misc]
    """See the module."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scores = [float(same(p, r)) for p, r in zip(predictions, references, strict=True)]
        return {"exact_match": mean(scores)}
