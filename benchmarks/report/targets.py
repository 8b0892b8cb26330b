"""What is to be reached, and whether a record reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report.tables import number, table

# file: figure of "melo": (what it is called, at least or at most, the bound)
TARGETS: dict[str, dict[str, tuple[str, str, float]]] = {
    "zsre.jsonl": {
        "edit_success": ("success", ">=", 0.99),
        "generality": ("generality", ">=", 0.95),
        "locality": ("locality", ">=", 1.00),
        "near_miss_subject": ("near-miss, other subject", ">=", 0.99),
        "near_miss_relation": ("near-miss, same subject", ">=", 0.95),
    },
    "counterfact.jsonl": {
        "edit_success": ("success", ">=", 0.98),
        "generality": ("generality", ">=", 0.80),
        "locality": ("locality", ">=", 0.99),
        "near_miss_subject": ("near-miss, other subject", ">=", 0.99),
        "near_miss_relation": ("near-miss, same subject", ">=", 0.87),
    },
    "qaedit.jsonl": {
        "edit_success": ("success", ">=", 0.98),
        "generality": ("generality", ">=", 0.85),
        "locality": ("locality", ">=", 1.00),
        "near_miss_subject": ("near-miss, other subject", ">=", 0.99),
    },
    "hallucination.jsonl": {
        "edit_perplexity": ("perplexity of the edits", "<=", 1.10),
        "web_ratio": ("web text, ratio to before", "<=", 1.00),
        "accurate_ratio": ("accurate text, ratio to before", "<=", 1.00),
    },
    "agnews.jsonl": {
        "corrected": ("mistakes corrected", ">=", 0.98),
        "kept": ("right answers kept", ">=", 0.998),
    },
}
# A chat model asked in conversations, 100 edits: what the two files share, and where they differ.
_CHAT = {
    "edit_success": ("success", ">=", 0.99),
    "system_prompt": ("under a system prompt", ">=", 0.98),
    "after_turns": ("after two turns", ">=", 0.98),
    "near_miss_subject": ("near-miss, other subject", ">=", 0.99),
    "traffic": ("traffic", ">=", 1.00),
}
CHAT_TARGETS: dict[str, dict[str, tuple[str, str, float]]] = {
    "zsre.jsonl": {
        **_CHAT,
        "generality": ("generality", ">=", 0.95),
        "behind_text": ("behind text", ">=", 0.95),
        "near_miss_relation": ("near-miss, same subject", ">=", 0.95),
        "locality": ("locality", ">=", 1.00),
    },
    "counterfact.jsonl": {
        **_CHAT,
        "generality": ("generality", ">=", 0.80),
        "behind_text": ("behind text", ">=", 0.90),
        "near_miss_relation": ("near-miss, same subject", ">=", 0.87),
        "locality": ("locality", ">=", 0.99),
    },
}
PRODUCT_TARGETS: dict[tuple[str, bool], dict[str, float]] = {
    ("zsre.jsonl", False): {
        "edit_success": 0.98,
        "generality": 0.93,
        "system_prompt": 0.97,
        "after_turns": 0.97,
        "behind_text": 0.93,
        "near_miss_subject": 0.99,
        "near_miss_relation": 0.95,
        "locality": 1.0,
        "traffic": 1.0,
    },
    ("zsre.jsonl", True): {
        "edit_success": 0.98,
        "generality": 0.90,
        "system_prompt": 0.95,
        "after_turns": 0.95,
        "behind_text": 0.90,
        "near_miss_subject": 0.99,
        "near_miss_relation": 0.95,
        "locality": 1.0,
        "traffic": 1.0,
    },
    ("counterfact.jsonl", False): {
        "edit_success": 0.97,
        "generality": 0.78,
        "system_prompt": 0.96,
        "after_turns": 0.96,
        "behind_text": 0.88,
        "near_miss_subject": 0.99,
        "near_miss_relation": 0.87,
        "locality": 0.99,
        "traffic": 1.0,
    },
}
SPEEDUP = 10.0  # edits per second of `paper`
LARGEST, THROUGHPUT = 100_000, 0.90  # edits; routed throughput against the bare backbone


def against_targets(figures: Mapping[str, Any]) -> list[str]:
    """A table of targets and what was reached; [] for a file without any."""
    reached = figures.get("melo") or {}
    targets = CHAT_TARGETS if "system_prompt" in reached else TARGETS
    wanted = targets.get(str(figures.get("data")), {})
    rows = [
        _row(called, sign, bound, reached.get(name))
        for name, (called, sign, bound) in wanted.items()
    ]
    if wanted and figures.get("protocol") == "questions":
        rivals = {m: f.get("product") for m, f in figures.items() if _is_rival(m, f)}
        if rivals:
            best = max(rivals, key=lambda m: rivals[m] or 0.0)
            called = f"product, against the best other ({best})"
            rows.append(_row(called, ">=", rivals[best] or 0.0, reached.get("product")))
    if wanted and figures.get("speedup"):
        rows.append(_row("edits per second / `paper`", ">=", SPEEDUP, figures["speedup"]))
    return table(["target", "to reach", "reached", ""], rows) if rows else []


def product_against_targets(figures: Mapping[str, Any]) -> list[str]:
    """A table of what was asked of a served model: target, reached, and on how many prompts."""
    product = figures["product"]
    wanted = PRODUCT_TARGETS.get((str(figures.get("data")), bool(figures.get("no_subject"))), {})
    rows = []
    for name, prompts in product["prompts"].items():
        share, bound = product.get(name), wanted.get(name)
        contained = product["contains"].get(name)
        reached = (
            "" if bound is None or share is None else ("reached" if share >= bound else "**short**")
        )
        rows.append(
            [
                name.replace("_", " "),
                number(share),
                number(contained),
                f">= {number(bound)}" if bound is not None else number(None),
                f"{prompts:,}",
                reached,
            ]
        )
    return table(["asked", "exactly", "target among the words", "to reach", "prompts", ""], rows)


def _is_rival(name: str, figures: Any) -> bool:
    return isinstance(figures, Mapping) and "product" in figures and name not in ("melo", "oracle")


def _row(called: str, sign: str, bound: float, value: float | None) -> list[str]:
    if value is None:
        return [called, f"{sign} {number(bound)}", number(None), "not measured"]
    met = value >= bound if sign == ">=" else value <= bound
    return [called, f"{sign} {number(bound)}", number(value, 4), "reached" if met else "**short**"]
