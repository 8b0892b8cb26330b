"""Metrics of model editing as `evaluate.Metric` modules that load without a network.

    metrics.load("edit_success").compute(predictions=[...], references=[...])
    evaluate.load("<folder of this file>/edit_success")         the same, by path

    exact_match, token_f1            two texts
    edit_success, generality         edited prompts, and rephrases of them, against targets
    locality                         unrelated prompts, against what the backbone answered
    retention                        earlier edits, after later ones
    accurate_retention_perplexity    texts that the backbone was right about

Every text comes from free-running greedy decoding, never from teacher forcing; perplexity alone is
of given texts. Each module says in its docstring how it is measured and where that comes from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from melo_engine.errors import MeloError

FOLDER = Path(__file__).parent
NAMES = (
    "exact_match",
    "token_f1",
    "edit_success",
    "generality",
    "locality",
    "retention",
    "accurate_retention_perplexity",
)

__all__ = ["FOLDER", "NAMES", "load"]


def load(name: str) -> Any:
    """The metric of this name, an `evaluate.EvaluationModule`. Raises MeloError for another name."""
    if name not in NAMES:
        raise MeloError(f'metric "{name}" is unknown; allowed: {", ".join(NAMES)}.')
    import evaluate  # brings pandas and datasets, which most who gate or ask never need

    return evaluate.load(str(FOLDER / name))
