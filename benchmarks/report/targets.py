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
SPEEDUP = 10.0  # edits per second of `paper`
LARGEST, THROUGHPUT = 100_000, 0.90  # edits; routed throughput against the bare backbone


def against_targets(figures: Mapping[str, Any]) -> list[str]:
    """A table of targets and what was reached; [] for a file without any."""
    wanted = TARGETS.get(str(figures.get("data")), {})
    reached = figures.get("melo") or {}
    rows = [
        _row(called, sign, bound, reached.get(name))
        for name, (called, sign, bound) in wanted.items()
    ]
    if wanted and figures.get("protocol") == "questions":
        rivals = {m: f.get("product") for m, f in figures.items() if _is_rival(m, f)}
        if rivals:
            best = max(rivals, key=lambda m: rivals[m] or 0.0)
            called = f"product of the five, against the best other ({best})"
            rows.append(_row(called, ">=", rivals[best] or 0.0, reached.get("product")))
    if wanted and figures.get("speedup"):
        rows.append(_row("edits per second / `paper`", ">=", SPEEDUP, figures["speedup"]))
    return table(["target", "to reach", "reached", ""], rows) if rows else []


def _is_rival(name: str, figures: Any) -> bool:
    return isinstance(figures, Mapping) and "product" in figures and name not in ("melo", "oracle")


def _row(called: str, sign: str, bound: float, found: float | None) -> list[str]:
    if found is None:
        return [called, f"{sign} {number(bound)}", number(None), "not measured"]
    far = found >= bound if sign == ">=" else found <= bound
    return [called, f"{sign} {number(bound)}", number(found, 4), "reached" if far else "**short**"]
