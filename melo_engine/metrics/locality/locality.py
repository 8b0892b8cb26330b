"""Locality: the share of prompts that no edit is about whose answers did not change at all.

Protocol: each prompt is decoded greedily and freely by the backbone without any edit and by the
edited model; the two texts must be the same, character by character. What is right does not matter
here. MELO and WISE (locality); the same texts of near-misses give near-miss locality.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from melo_engine.metrics.text import mean

CITATION = """\
@inproceedings{yu2024melo,
  title={MELO: Enhancing Model Editing with Neuron-Indexed Dynamic LoRA},
  author={Yu, Lang and Chen, Qin and Zhou, Jie and He, Liang},
  booktitle={AAAI}, year={2024}
}
@inproceedings{wang2024wise,
  title={WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language Models},
  author={Wang, Peng and Li, Zexi and Zhang, Ningyu and Xu, Ziwen and Yao, Yunzhi and Jiang, Yong
          and Xie, Pengjun and Huang, Fei and Chen, Huajun},
  booktitle={NeurIPS}, year={2024}
}
"""
DESCRIPTION = "Share of unrelated prompts answered exactly as the unedited backbone answers them."
INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: what the backbone alone decodes for the same prompts.
Gives locality, 0..1; nan for no prompt.
"""


class Locality(evaluate.Metric):  # type: ignore[misc]
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
        scores = [float(p == r) for p, r in zip(predictions, references, strict=True)]
        return {"locality": mean(scores)}
