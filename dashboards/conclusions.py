"""What a chart says, in a sentence: the title above it. Plain functions of the rows it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.words import count, duration, share

Row = Mapping[str, Any]
BACK = 10  # versions that a suite is compared with
SMALLER_IS_BETTER = frozenset({"perplexity ratio"})


def direction(rows: Sequence[Row]) -> str:
    """"better", "worse" or "held": the latest version against the tenth before it, or the first.

    A share counts as changed only where the two 95% intervals do not touch.
    """
    told = [r for r in rows if r["value"] is not None]
    if len(told) < 2:
        return "held"
    now, then = told[-1], told[max(0, len(told) - 1 - BACK)]
    if now["low"] is None or then["low"] is None:
        change = now["value"] - then["value"]
        if now["metric"] in SMALLER_IS_BETTER:
            change = -change
        return "held" if abs(change) < 0.005 else "better" if change > 0 else "worse"
    if now["low"] > then["high"]:
        return "better"
    return "worse" if now["high"] < then["low"] else "held"


def of_suite(rows: Sequence[Row]) -> str:
    """`locality held at 100% of 86`."""
    last = rows[-1]
    name = last["suite"]
    if last["value"] is None:
        return f"{name}: the latest version has no value"
    value = share(last["value"]) if last["metric"] == "share" else f"× {last['value']:.3f}"
    moved = {"held": "held at", "better": "rose to", "worse": "fell to"}[direction(rows)]
    if last["metric"] in SMALLER_IS_BETTER and moved != "held at":
        moved = {"rose to": "fell to", "fell to": "rose to"}[moved]
    failed = "" if last["passed"] else ", below what is asked"
    return f"{name} {moved} {value}{failed}"


def of_suites(groups: Mapping[str, Sequence[Row]]) -> str:
    """The sentence above all suites."""
    ways = {name: direction(rows) for name, rows in groups.items()}
    failing = [name for name, rows in groups.items() if not rows[-1]["passed"]]
    better = [n for n, way in ways.items() if way == "better"]
    worse = [n for n, way in ways.items() if way == "worse"]
    if failing:
        return f"The latest version fails {_list(failing)}"
    if not better and not worse:
        return f"Quality holds: all {len(groups)} suites pass, none has moved beyond its interval"
    parts = []
    if worse:
        parts.append(f"{_list(worse)} got worse")
    if better:
        parts.append(f"{_list(better)} got better")
    return "Quality moves: " + ", ".join(parts)


def of_releases(rows: Sequence[Row]) -> str:
    """How many versions passed, and how often somebody had to go back."""
    rejected = sum(r["fate"] == "rejected" for r in rows)
    rollbacks = sum(r["rollback"] for r in rows)
    said = (
        f"All of the last {count(len(rows), 'version')} passed the gate"
        if rejected == 0
        else f"The gate kept {rejected:,} of the last {count(len(rows), 'version')} from serving"
    )
    return said + (
        "; nobody had to go back" if not rollbacks else f"; {count(rollbacks, 'rollback')}"
    )


def of_live_times(rows: Sequence[Row]) -> str:
    """How long a report takes to be live, and whether that has changed."""
    if not rows:
        return "No edit has come into use yet"
    last = rows[-1]
    said = f"Half of the reports are live after {duration(last['p50'])}, 95% after {duration(last['p95'])}"
    if len(rows) >= 5:
        earlier = sorted(r["p50"] for r in rows[-5:-1])[1:3]
        usual = sum(earlier) / 2
        if last["p50"] > 1.5 * usual:
            said += f": slower than the {duration(usual)} of the weeks before"
        elif last["p50"] < usual / 1.5:
            said += f": faster than the {duration(usual)} of the weeks before"
    return said


def of_backlog(rows: Sequence[Row]) -> str:
    """How much waits, and how much of it for too long."""
    total = sum(r["edits"] for r in rows)
    if not total:
        return "Nothing waits"
    old = sum(r["edits"] for r in rows if r["place"] >= 2)
    held = sum(r["edits"] for r in rows if r["state"] == "held")
    said = f"{count(total, 'edit')} {'waits' if total == 1 else 'wait'}"
    said += f", {old:,} of them for more than a day" if old else ", none for more than a day"
    return said + (f"; {held:,} held for a person, a date or a second source" if held else "")


def _list(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
