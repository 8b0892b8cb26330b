"""Edit success (reliability): the share of edited prompts that are answered with their targets.

Protocol: after the *last* edit of the sequence, each edit's own prompt is decoded greedily and
freely, alone or in any batch, and compared with its target word by word. MELO calls it edit success,
GRACE edit retention when measured at the end, WISE reliability. Those papers force the target's
tokens and compare each; a forced text can score 1.0 and still loop when it is decoded, so this
module never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from melo_engine.metrics.text import mean, same

CITATION = """\
@inproceedings{yu2024melo,
  title={MELO: Enhancing Model Editing with Neuron-Indexed Dynamic LoRA},
  author={Yu, Lang and Chen, Qin and Zhou, Jie and He, Liang},
  booktitle={AAAI}, year={2024}
}
@inproceedings{hartvigsen2023grace,
  title={Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors},
  author={Hartvigsen, Tom and Sankaranarayanan, Swami and Palangi, Hamid and Kim, Yoon and
          Ghassemi, Marzyeh},
  booktitle={NeurIPS}, year={2023}
}
@inproceedings{wang2024wise,
  title={WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language Models},
  author={Wang, Peng and Li, Zexi and Zhang, Ningyu and Xu, Ziwen and Yao, Yunzhi and Jiang, Yong
          and Xie, Pengjun and Huang, Fei and Chen, Huajun},
  booktitle={NeurIPS}, year={2024}
}
"""
DESCRIPTION = "Share of edited prompts that decode freely to their targets."
INPUTS = """\
predictions: texts, greedily decoded without forcing, special tokens left out.
references: targets, one for each.
Gives edit_success, 0..1; nan for no edit.
"""


class EditSuccess(evaluate.Metric):  # type: ignore[misc]
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
        return {"edit_success": mean(scores)}
