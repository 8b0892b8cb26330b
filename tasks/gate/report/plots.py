"""Small plots as SVG text, so that a report is one file. Their colours are the page's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

GOOD, CALM, PALE, INK = (
    f"var(--{name})" for name in ("good", "calm", "pale", "ink")
)  # of the page
WIDTH, LABEL = 760, 210
BINS = 40  # of the distances


def share_plot(suites: Sequence[Mapping[str, Any]]) -> Markup:
    """A line a suite: the share that passed, in its confidence interval. "low", "high", "share"."""
    row, left, wide = 24, LABEL, WIDTH - LABEL - 90
    parts = []
    for tick in (0, 25, 50, 75, 100):
        x = left + wide * tick / 100
        parts.append(_line(x, 6, x, row * len(suites) + 10, PALE))
        parts.append(_text(x, row * len(suites) + 24, f"{tick}%", "middle"))
    for i, suite in enumerate(suites):
        y = row * i + 20
        low, high, share = (left + wide * float(suite[k] or 0) for k in ("low", "high", "share"))
        colour = GOOD if suite["passed"] == suite["probes"] else CALM
        parts.append(_text(left - 10, y + 4, str(suite["suite"]), "end"))
        parts.append(_line(low, y, high, y, colour, 3))
        parts.append(f'<circle cx="{share:.1f}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(_text(WIDTH - 80, y + 4, f"{suite['passed']:,}/{suite['probes']:,}", "start"))
    return _svg(parts, row * len(suites) + 32, "Share of probes passed, with its interval")


def cache_bar(generated: int, cached: int) -> Markup:
    """How much was known already."""
    total = max(1, generated + cached)
    split = (WIDTH - 20) * cached / total
    parts = [
        f'<rect x="10" y="8" width="{split:.1f}" height="18" fill="{PALE}"/>',
        f'<rect x="{10 + split:.1f}" y="8" width="{WIDTH - 20 - split:.1f}" height="18" '
        f'fill="{CALM}"/>',
        _text(10, 44, f"{cached:,} answers known already", "start"),
        _text(WIDTH - 10, 44, f"{generated:,} generated", "end"),
    ]
    return _svg(parts, 52, "Answers known and generated")


def distance_histogram(inside: Sequence[float], outside: Sequence[float]) -> Markup:
    """Distances of prompts to the nearest key, for those that an edit answered and those beside."""
    values = [v for v in (*inside, *outside) if math.isfinite(v)]
    if not values:
        return Markup("")
    top = max(values) or 1.0
    counts = [[0] * BINS, [0] * BINS]
    for which, group in enumerate((inside, outside)):
        for value in group:
            if math.isfinite(value):
                counts[which][min(BINS - 1, int(BINS * value / top))] += 1
    most, step, tall = max(map(max, counts)) or 1, (WIDTH - 40) / BINS, 110
    parts = []
    for which, colour in ((1, PALE), (0, CALM)):
        for i, count in enumerate(counts[which]):
            height = tall * math.log1p(count) / math.log1p(most)
            parts.append(
                f'<rect x="{20 + i * step:.1f}" y="{tall + 8 - height:.1f}" '
                f'width="{step * (0.9 if which else 0.55):.1f}" height="{height:.1f}" '
                f'fill="{colour}"><title>{count}</title></rect>'
            )
    parts.append(_line(20, tall + 8, WIDTH - 20, tall + 8, INK))
    parts.append(_text(20, tall + 24, "0", "middle"))
    parts.append(_text(WIDTH - 20, tall + 24, f"{top:.2f}", "middle"))
    parts.append(_text(WIDTH / 2, tall + 24, "distance", "middle"))
    return _svg(parts, tall + 34, "Distances to the nearest key")


def _svg(parts: Sequence[str], height: float, title: str) -> Markup:
    body = "".join(parts)
    return Markup(  # every text in it went through escape
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" fill="{INK}">'
        f"{escape(text)}</text>"
    )
