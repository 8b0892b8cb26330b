"""Plots as SVG: one look, no date inside, so that the same records give the same file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "melo"
from matplotlib import pyplot as plt  # noqa: E402

Series = Mapping[str, Sequence[tuple[float, float]]]


def lines(
    path: Path,
    series: Series,
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    bounds: tuple[float, float] | None = None,
    level: float | None = None,
) -> None:
    """One line a series of (x, y) points. level: a dashed line across."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, points in series.items():
        measured = [(a, b) for a, b in points if a is not None and b is not None]
        axes.plot(
            [a for a, _ in measured], [b for _, b in measured], marker="o", markersize=4, label=name
        )
    if level is not None:
        axes.axhline(level, linestyle="--", linewidth=1, color="grey")
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    if bounds:
        axes.set_ylim(*bounds)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _save(figure, path)


def bars(path: Path, values: Sequence[tuple[str, float, float]], *, x: str) -> None:
    """A horizontal bar for each (name, value, floor), the floor in front of the value."""
    figure, axes = plt.subplots(figsize=(6.4, 0.5 + 0.32 * len(values)), layout="constrained")
    names = [name for name, _, _ in values][::-1]
    axes.barh(names, [v for _, v, _ in values][::-1], color="#9ecae1", label="took")
    axes.barh(names, [f for _, _, f in values][::-1], color="#08519c", height=0.4, label="floor")
    axes.set_xlabel(x)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
