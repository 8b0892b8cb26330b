"""Token F1: how many words a text shares with its reference.

Protocol: free-running greedy decoding; words without case, accents and punctuation, counted as
often as they stand there; the mean over texts. SQuAD (Rajpurkar et al. 2016); GRACE and MELO report
it for question answering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from melo_engine.metrics.text import f1, mean

CITATION = """\
@inproceedings{rajpurkar2016squad,
  title={SQuAD: 100,000+ Questions for Machine Comprehension of Text},
  author={Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle={EMNLP}, year={2016}
}
@inproceedings{hartvigsen2023grace,
  title={Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors},
  author={Hartvigsen, Tom and Sankaranarayanan, Swami and Palangi, Hamid and Kim, Yoon and
          Ghassemi, Marzyeh},
  booktitle={NeurIPS}, year={2023}
}
"""
DESCRIPTION = "Mean F1 of words between texts and references."
INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: the right texts, one for each.
Gives token_f1, 0..1; nan for no text.
"""


class TokenF1(evaluate.Metric):  # type: ignore[misc]
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
        scores = [f1(p, r) for p, r in zip(predictions, references, strict=True)]
        return {"token_f1": mean(scores)}
