"""Generality: the share of rephrases of edited prompts that are answered with the edits' targets.

Protocol: rephrases that neither training nor calibration has seen, decoded greedily and freely after
the last edit. Where `edits` names the edit that each rephrase belongs to, an edit with many
rephrases counts once. MELO and WISE (generalization).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from melo_engine.metrics.text import mean_over_edits, same

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
DESCRIPTION = "Share of unseen rephrases that decode freely to the targets of their edits."
INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets of the rephrases' edits, one for each.
edits: ids of those edits, one for each; may be left out.
Gives generality, 0..1; nan for no rephrase.
"""


class Generality(evaluate.Metric):  # type: ignore[misc]
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

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        edits: Sequence[str] | None = None,
    ) -> dict[str, float]:
        scores = [float(same(p, r)) for p, r in zip(predictions, references, strict=True)]
        return {"generality": mean_over_edits(scores, edits)}
