"""A report for each gate: JSON for machines, and one HTML page that needs nothing beside it.

<folder>/gate.json    the verdict, every check, edits taken out or shrunk, every failing probe
<folder>/gate.html    the same to read, with plots as inline SVG
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from artifacts.atomic import write_atomically
from tasks.gate.measures.statistics import wilson
from tasks.gate.report.plots import cache_bar, distance_histogram, share_plot
from tasks.gate.types import GateResult, ProbeResult

CONFIDENCE = 0.95  # of the interval around each share
SHOWN = 300  # failing probes on the page; the JSON has all


def report_data(result: GateResult) -> dict[str, Any]:
    """The report as plain values; what is no number is None."""
    failing = [p for p in result.probes if not p.passed]
    data = {
        "passed": result.passed,
        "reason": result.reason,
        "candidate": result.candidate,
        "version": result.version.id,
        "champion": result.champion,
        "backbone": {"name": result.version.backbone_name, "weights": result.version.backbone},
        "edits": len(result.version),
        "full": result.full,
        "probes": len(result.probes),
        "generated": result.regenerated,
        "cached": result.cached,
        "rounds": result.rounds,
        "seconds": round(result.seconds, 3),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "suites": _suites(result.probes),
        "checks": [asdict(c) for c in result.checks],
        "rejected": [asdict(r) for r in result.rejected],
        "repairs": [asdict(r) for r in result.repairs],
        "tokens": result.tokens,
        "narrow": {edit: list(wordings) for edit, wordings in result.narrow.items()},
        "unproven": [asdict(u) for u in result.unproven],
        "failing": [{**asdict(p), "slices": dict(p.slices)} for p in failing],
    }
    plain: dict[str, Any] = _plain(data)
    return plain


def html_of(data: dict[str, Any], probes: Sequence[ProbeResult] = ()) -> str:
    """The page. probes: all results, for the plot of distances."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]))
    environment.filters["number"] = _number
    return environment.get_template("report.html").render(
        report=data,
        shown=data["failing"][:SHOWN],
        shares=share_plot(data["suites"]),
        cache=cache_bar(data["generated"], data["cached"]),
        distances=distance_histogram(
            [p.distance for p in probes if p.edit], [p.distance for p in probes if not p.edit]
        ),
    )


def write_report(result: GateResult, folder: str | Path) -> tuple[Path, Path]:
    """Write gate.json and gate.html into a folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = report_data(result)
    texts = {
        "gate.json": json.dumps(data, ensure_ascii=False, indent=1),
        "gate.html": html_of(data, result.probes),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode("utf-8", "replace"))
    return folder / "gate.json", folder / "gate.html"


def _suites(probes: Sequence[ProbeResult]) -> list[dict[str, Any]]:
    total = Counter(p.suite for p in probes)
    passed = Counter(p.suite for p in probes if p.passed)
    cached = Counter(p.suite for p in probes if p.cached)
    edited = Counter(p.suite for p in probes if p.edit)
    rows = []
    for suite, n in total.items():
        low, high = wilson(passed[suite], n, CONFIDENCE)
        rows.append(
            {
                "suite": suite,
                "probes": n,
                "passed": passed[suite],
                "cached": cached[suite],
                "by_edits": edited[suite],
                "share": passed[suite] / n,
                "low": low,
                "high": high,
            }
        )
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
