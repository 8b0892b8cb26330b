"""Markdown tables, and how a figure is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records import Record

MISSING = "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the first column left, the others right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)] + [""]


def number(value: Any, digits: int = 3) -> str:
    """A figure for people: thousands apart, no digits that say nothing."""
    if value is None or isinstance(value, str):
        return str(value or MISSING)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.1f}"


def measured(figures: Mapping[str, Any], name: str) -> str:
    """A figure with its interval where several seeds were run."""
    span = figures.get("intervals", {}).get(name)
    text = number(figures.get(name))
    return f"{text} ({number(span[0])} to {number(span[1])})" if span else text


def source(name: str, record: Record) -> list[str]:
    """Where a section's figures come from: command, machine, commit, record."""
    about = record["machine"]
    where = record["device"] if record["device"] != "cpu" else about["processor"]
    busy = f", load {about['load']} when it ended" if about.get("load") is not None else ""
    commit = (record["commit"] or "unknown")[:10] + (" with changes" if record["changed"] else "")
    return [
        f"`{record['command']}` on {where}, {about['threads']} of {about['cores']} cores"
        f"{busy}; {record['when'][:10]}, commit {commit}, record `{name}`.",
        "",
    ]
