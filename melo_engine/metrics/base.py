"""What all metrics of model editing have in common: how `evaluate` shows them, and whom they cite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import datasets
import evaluate

from melo_engine.metrics.text import mean_over_edits, same

MELO = """\
@inproceedings{yu2024melo,
  title={MELO: Enhancing Model Editing with Neuron-Indexed Dynamic LoRA},
  author={Yu, Lang and Chen, Qin and Zhou, Jie and He, Liang},
  booktitle={AAAI}, year={2024}
}
"""
GRACE = """\
@inproceedings{hartvigsen2023grace,
  title={Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors},
  author={Hartvigsen, Tom and Sankaranarayanan, Swami and Palangi, Hamid and Kim, Yoon and
          Ghassemi, Marzyeh},
  booktitle={NeurIPS}, year={2023}
}
"""
WISE = """\
@inproceedings{wang2024wise,
  title={WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language Models},
  author={Wang, Peng and Li, Zexi and Zhang, Ningyu and Xu, Ziwen and Yao, Yunzhi and Jiang, Yong
          and Xie, Pengjun and Huang, Fei and Chen, Huajun},
  booktitle={NeurIPS}, year={2024}
}
"""
SQUAD = """\
@inproceedings{rajpurkar2016squad,
  title={SQuAD: 100,000+ Questions for Machine Comprehension of Text},
  author={Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle={EMNLP}, year={2016}
}
"""


class EditingMetric(evaluate.Metric, ABC):  # type: ignore[misc]
    """One metric. inputs: what it takes and gives; papers: citations; types: of its two columns.

    It is abstract, so that `evaluate` loads the module's own class and not this one.
    """

    inputs: ClassVar[str]
    papers: ClassVar[tuple[str, ...]]
    types: ClassVar[tuple[str, str]] = ("string", "string")

    @property
    @abstractmethod
    def measures(self) -> str:
        """What it measures, in a sentence."""

    def _info(self) -> Any:
        predictions, references = map(datasets.Value, self.types)
        return evaluate.MetricInfo(
            description=self.measures,
            citation="".join(self.papers),
            inputs_description=self.inputs,
            features=datasets.Features({"predictions": predictions, "references": references}),
        )


class MatchMetric(EditingMetric):
    """The share of texts with the words of their references, named as the metric is."""

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        edits: Sequence[str] | None = None,
    ) -> dict[str, float]:
        """edits: the edit of each text, where one with many texts is to count once."""
        scores = [float(same(p, r)) for p, r in zip(predictions, references, strict=True)]
        return {self.name: mean_over_edits(scores, edits)}
