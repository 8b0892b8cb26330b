"""Summaries: what a chart shows, in a sentence above it. Plain functions of the rows it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.words import count, duration, share, size
from ledger.insight.overview import SHARES

Row = Mapping[str, Any]
BACK = 10  # versions that a suite is compared with
SMALLER_IS_BETTER = frozenset({"perplexity ratio"})


def direction(rows: Sequence[Row]) -> str:
    """ "better", "worse" or "held": the latest version against the tenth before it, or the first.

    A share counts as changed only where the two 95% intervals do not touch.
    """
    measured = [r for r in rows if r["value"] is not None]
    if len(measured) < 2:
        return "held"
    now, then = measured[-1], measured[max(0, len(measured) - 1 - BACK)]
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
    value = share(last["value"]) if last["metric"] in SHARES else f"× {last['value']:.3f}"
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
    """How many versions passed, and how many rollbacks there were."""
    rejected = sum(r["fate"] == "rejected" for r in rows)
    rollbacks = sum(r["rollback"] for r in rows)
    summary = (
        f"All of the last {count(len(rows), 'version')} passed the gate"
        if rejected == 0
        else f"The gate kept {rejected:,} of the last {count(len(rows), 'version')} from serving"
    )
    return summary + (
        "; nobody had to go back" if not rollbacks else f"; {count(rollbacks, 'rollback')}"
    )


def of_live_times(rows: Sequence[Row]) -> str:
    """How long a report takes to be live, and whether that has changed."""
    if not rows:
        return "No edit has come into use yet"
    last = rows[-1]
    half, most = duration(last["p50"]), duration(last["p95"])
    summary = f"Half of the reports are live after {half}, 95% after {most}"
    if len(rows) >= 5:
        earlier = sorted(r["p50"] for r in rows[-5:-1])[1:3]
        usual = sum(earlier) / 2
        if last["p50"] > 1.5 * usual:
            summary += f": slower than the {duration(usual)} of the weeks before"
        elif last["p50"] < usual / 1.5:
            summary += f": faster than the {duration(usual)} of the weeks before"
    return summary


def of_backlog(rows: Sequence[Row]) -> str:
    """How much waits, and how much of it for too long."""
    total = sum(r["edits"] for r in rows)
    if not total:
        return "Nothing waits"
    old = sum(r["edits"] for r in rows if r["place"] >= 2)
    held = sum(r["edits"] for r in rows if r["state"] == "held")
    summary = f"{count(total, 'edit')} {'waits' if total == 1 else 'wait'}"
    summary += f", {old:,} of them for more than a day" if old else ", none for more than a day"
    return summary + (f"; {held:,} held for a person, a date or a second source" if held else "")


def of_reasons(rows: Sequence[Row]) -> str:
    """What most of the waiting is for."""
    total = sum(r["edits"] for r in rows)
    if not total:
        return "Nothing waits"
    first = max(rows, key=lambda r: r["edits"])
    oldest = max(rows, key=lambda r: r["oldest_seconds"])
    why = first["why"] if first["why"].startswith(("for", "to")) else f"for {first['why']}"
    return (
        f"{share(first['edits'] / total)} of what waits, waits {why}; the oldest has waited "
        f"{duration(oldest['oldest_seconds'])}"
    )


def of_sources(rows: Sequence[Row]) -> str:
    """Which source's edits fail most."""
    decided = [r for r in rows if r["acceptance"] is not None]
    if not decided:
        return "No source has an edit that was decided yet"
    worst = min(decided, key=lambda r: (r["acceptance"], -r["active"] - r["rejected"]))
    if worst["rejected"] == 0:
        return f"The gate has kept every edit of all {count(len(decided), 'source')}"
    used = share(worst["acceptance"])
    return f"{worst['source'] or 'unnamed'} is the weakest source: {used} of its decided edits are in use"


def of_margins(rows: Sequence[Row]) -> str:
    """Which suite came nearest to its threshold, and which changed most against the parent."""
    shares = [r for r in rows if r["metric"] in SHARES and r["value"] is not None]
    failing = [r["suite"] for r in rows if not r["passed"]]
    if failing:
        return f"It fails {_list(list(dict.fromkeys(failing)))}"
    if not shares:
        return "No suite has a share"
    loose = [r for r in shares if r["threshold"] is not None and r["threshold"] < 1.0]
    summary = "Every suite passes"
    if loose:
        near = min(loose, key=lambda r: r["value"] - r["threshold"])
        value, threshold = share(near["value"]), share(near["threshold"])
        summary += f"; nearest to its bound is {near['suite']}, {value} where {threshold} is asked"
    moved = [r for r in shares if r["change"]]
    if moved:
        most = max(moved, key=lambda r: abs(r["change"]))
        way = "up" if most["change"] > 0 else "down"
        summary += f". Most moved: {most['suite']}, {way} {100 * abs(most['change']):.1f} points"
    return summary


def of_life(facts: Row, steps: Sequence[Row]) -> str:
    """An edit's life in a sentence."""
    received = facts["received_at"]
    live = next((s["happened_at"] for s in steps if s["what"] == "active"), None)
    summary = f"It is {facts['state']}"
    if live is not None:
        summary += f"; it was live {duration((live - received).total_seconds())} after it came in"
    elif facts["state"] == "held":
        summary += f", for {facts['hold']}"
    return summary


def of_distances(rows: Sequence[Row], edit: str, radius: float | None) -> str:
    """How many rephrases it reaches, and how many near-misses it leaves alone."""
    clauses = []
    for kind, name, wanted in (
        ("rephrase", "rephrase", True),
        ("other relation", "question about something else", False),
        ("other subject", "question about another subject", False),
    ):
        probes = [r for r in rows if r["kind"] == kind]
        caught = sum(r["caught_by"] == edit for r in probes)
        if probes and wanted:
            clauses.append(f"reaches {caught} of {count(len(probes), name)}")
        elif probes:
            things = count(len(probes), name, name.replace("question", "questions"))
            clauses.append(f"leaves {len(probes) - caught} of {things} alone")
    if not clauses:
        return "No gate has asked anything about it yet"
    return "It " + ", ".join(clauses) + ("" if radius is None else f"; radius {radius:.2f}")


def of_map(total: int, crowded: int) -> str:
    """How full the key space is."""
    if crowded == 0:
        return f"No two of {count(total, 'edit')} lie within each other's reach"
    return (
        f"{count(crowded, 'edit')} of {total:,} {'lies' if crowded == 1 else 'lie'} within the reach of "
        "another about the same subject"
    )


def of_traffic(totals: Row) -> str:
    """The share of requests that an edit answered."""
    return f"Edits answered {share(totals['share'])} of {count(totals['answers'], 'request')}"


def of_reach(rows: Sequence[Row]) -> str:
    """How many served prompts fell just beside an edit."""
    near = sum(r["answers"] for r in rows if r["who"] != "an edit" and r["ratio"] < 1.2)
    total = sum(r["answers"] for r in rows)
    if not total:
        return "No served prompt came near an edit"
    return (
        f"{count(near, 'request')} fell just beside an edit, within a fifth of its radius: "
        f"{share(near / total)} of those that one was compared with"
    )


def of_stages(rows: Sequence[Row]) -> str:
    """Which stage takes most of a version's time, and whether it grows."""
    if not rows:
        return "No stage has been timed yet"
    stages: dict[str, list[float]] = {}
    for r in rows:
        stages.setdefault(r["stage"], []).append(r["seconds"])
    total = sum(map(sum, stages.values()))
    top = max(stages, key=lambda s: sum(stages[s]))
    summary = f"{top} takes {share(sum(stages[top]) / total) if total else '–'} of a version's time"
    series = stages[top]
    if len(series) >= 20:
        half = len(series) // 2
        before, after = sum(series[:half]) / half, sum(series[half:]) / (len(series) - half)
        if before and after > 1.15 * before:
            summary += f", and grew by {share(after / before - 1)} over these versions"
        elif before and after < before / 1.15:
            summary += f", and fell by {share(1 - after / before)} over these versions"
    return summary


def of_memory(rows: Sequence[Row]) -> str:
    """The highest memory of any stage."""
    measured = [r for r in rows if r["memory_bytes"]]
    if not measured:
        return "No memory has been measured yet"
    top = max(measured, key=lambda r: r["memory_bytes"])
    summary = f"Memory peaks at {size(top['memory_bytes'])}, in {top['stage']}"
    gpu = max((r["gpu_bytes"] or 0 for r in rows), default=0)
    return summary + (f"; on the GPU {size(gpu)}" if gpu else "; no GPU was used")


def of_rate(rows: Sequence[Row]) -> str:
    """Edits a second of training."""
    rates = sorted(r["rate"] for r in rows if r["rate"])
    if not rates:
        return "No training has been timed yet"
    return f"Training takes in {rates[len(rates) // 2]:.3g} edits a second, in the median version"


def of_sizes(rows: Sequence[Row]) -> str:
    """How large a version is, and what one more edit adds."""
    measured = [r for r in rows if r["bytes"] and r["edits"]]
    if not measured:
        return "No version's size is on record yet"
    last = measured[-1]
    each = last["bytes"] / last["edits"]
    return (
        f"The latest version holds {size(last['bytes'])} beside the backbone: {size(each)} an edit"
    )


def of_gate(rows: Sequence[Row]) -> str:
    """How many of the gate's answers came from its cache."""
    measured = [r for r in rows if r["cached"] is not None and r["regenerated"] is not None]
    if not measured:
        return "No gate's work is on record yet"
    last = measured[-1]
    total = last["cached"] + last["regenerated"]
    cached = share(last["cached"] / total) if total else "–"
    return f"The latest gate generated {last['regenerated']:,} answers and knew {cached} of all already"


def _list(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
