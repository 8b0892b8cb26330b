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
from typing import Any

import datasets
import evaluate

CITATION = """\
@inproceedings{hartvigsen2023grace,
  title={Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors},
  author={Hartvigsen, Tom and Sankaranarayanan, Swami and Palangi, Hamid and Kim, Yoon and
          Ghassemi, Marzyeh},
  booktitle={NeurIPS}, year={2023}
}
@inproceedings{yu2024melo,
  title={MELO: Enhancing Model Editing with Neuron-Indexed Dynamic LoRA},
  author={Yu, Lang and Chen, Qin and Zhou, Jie and He, Liang},
  booktitle={AAAI}, year={2024}
}
"""
DESCRIPTION = "Perplexity of the edited model on texts that the backbone was right about."
INPUTS = """\
predictions: for each text the sum of -log p over its tokens, in nats, by the edited model.
references: for each text the number of its tokens.
backbone: the same sums by the unedited backbone; may be left out.
Gives accurate_retention_perplexity, >= 1, over all tokens; with backbone also perplexity_ratio.
nan where there is no token.
"""


class AccurateRetentionPerplexity(evaluate.Metric):  # type: ignore[misc]
    """See the module."""

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

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
