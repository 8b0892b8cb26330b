"""Small multiples as SVG text: a dozen charts of a hundred points each, for the price of one.

A chart of Vega-Lite costs a browser some 50 ms before it has drawn anything, whatever is in it; a page of
twelve would be late for that alone. These are plain marks, each with its own tooltip and a link to its
version. Pictures to take away are still drawn by Vega-Lite (`dashboards.report.together`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from dashboards.palette import BLUE, GREY, RED

WIDTH, HEIGHT = 360, 136  # units of the drawing, which takes the width that there is
LEFT, RIGHT, TOP, BOTTOM = 48, 352, 6, 116
STYLE = f"""
.multiples {{display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.1rem;
    font-family: var(--st-font); color: var(--st-text-color)}}
.multiples p {{font-weight: 600; margin: 0 0 .3rem; font-size: .95rem; line-height: 1.35}}
.multiples section {{display: flex; flex-direction: column; justify-content: space-between}}
.multiples svg {{width: 100%; display: block}}
.multiples text {{fill: currentColor; font-size: 11px; opacity: .8}}
.multiples .grid {{stroke: currentColor; stroke-opacity: .12}}
.multiples .asked {{stroke: {GREY}; stroke-dasharray: 4 4}}
.multiples .band {{fill: {BLUE}; opacity: .22}}
.multiples .line {{fill: none; stroke: {BLUE}; stroke-width: 1.5}}
.multiples circle {{fill: {BLUE}}}
.multiples .failed {{stroke: {RED}; stroke-width: 3}}
.multiples a:hover circle {{r: 5}}
"""


def multiples(charts: Sequence[tuple[str, str]]) -> str:
    """A grid of drawings, each below its summary, as HTML for an element `.multiples`."""
    return "".join(f"<section><p>{escape(summary)}</p>{svg}</section>" for summary, svg in charts)


def suite(label: str, rows: Sequence[dict[str, Any]], *, ratio: bool = False) -> str:
    """One suite over versions: value, its 95% interval, what is asked for, versions that failed.

    rows: number, version, value, low, high, threshold, passed, probes and failed, oldest version first.
    label: for screen readers. ratio: values are no shares.
    """
    bottom, top = domain(rows, ratio)
    x = _scale(rows[0]["number"], rows[-1]["number"], LEFT + 8, RIGHT - 8)
    y = _scale(bottom, top, BOTTOM, TOP)
    thresholds = [r["threshold"] for r in rows if r["threshold"] is not None]
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
            *(_level(y(v), _value(v, ratio)) for v in ticks(bottom, top, 4)),
            *(
                f'<text x="{x(n):.1f}" y="{BOTTOM + 14}" text-anchor="middle">{n:.0f}</text>'
                for n in ticks(rows[0]["number"], rows[-1]["number"], 6, least=1)
            ),
            _band(rows, x, y),
            *(f'<path class="asked" d="M{LEFT} {y(v):.1f}H{RIGHT}"/>' for v in thresholds[-1:]),
            f'<path class="line" d="M{_path(rows, "value", x, y)}"/>',
            *(
                _point(row, x(row["number"]), y(row["value"]), ratio)
                for row in rows
                if row["value"] is not None
            ),
            "</svg>",
        ]
    )


def ticks(low: float, high: float, about: int, *, least: float = 0.0) -> list[float]:
    """Round numbers from low to high: steps of 1, 2 or 5 times a power of ten, about so many.

    least: the smallest step.
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(least, min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(s - rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def domain(rows: Sequence[dict[str, Any]], ratio: bool) -> tuple[float, float]:
    """From the lowest to the highest value of a suite, with some room around them."""
    values = [
        row[name]
        for row in rows
        for name in ("low", "value", "high", "threshold")
        if row[name] is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = max(0.01, 0.08 * (high - low))
    return max(0.0, low - pad), high + pad if ratio else min(1.0, high + pad)


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    if not high > low:
        return lambda value: (first + last) / 2
    return lambda value: first + (value - low) / (high - low) * (last - first)


def _level(at: float, label: str) -> str:
    return (
        f'<path class="grid" d="M{LEFT} {at:.1f}H{RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{label}</text>'
    )


def _value(value: float, ratio: bool) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if ratio else f"{round(100 * value, 3):g}%"


def _path(
    rows: Sequence[dict[str, Any]],
    name: str,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    return "L".join(f"{x(r['number']):.1f} {y(r[name]):.1f}" for r in rows if r[name] is not None)


def _band(
    rows: Sequence[dict[str, Any]], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    banded = [row for row in rows if row["low"] is not None and row["high"] is not None]
    if not banded:
        return ""
    return f'<path class="band" d="M{_path(banded, "low", x, y)}L{_path(banded[::-1], "high", x, y)}Z"/>'


def _point(row: dict[str, Any], x: float, y: float, ratio: bool) -> str:
    threshold = "" if row["threshold"] is None else f", asked for {_value(row['threshold'], ratio)}"
    interval = (
        ""
        if row["low"] is None or row["high"] is None
        else f" ({_value(row['low'], ratio)} to {_value(row['high'], ratio)})"
    )
    tooltip = (
        f"v{row['number']} {row['version']}: {_value(row['value'], ratio)}{interval}{threshold}; "
        f"{row['failed']:,} of {row['probes']:,} probes failed"
    )
    mark = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
        if row["passed"]
        else f'<path class="failed" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    )
    # Not among the stops of the Tab key: there are hundreds, and the version page lists them all.
    return (
        f'<a href="version?version={escape(row["version"])}" tabindex="-1">'
        f"<title>{escape(tooltip)}</title>{mark}</a>"
    )
