"""Charts of the overview: a suite over versions, what became of versions, waiting, age."""

from __future__ import annotations

import altair as alt
import pyarrow as pa

from dashboards.charts.base import (
    DURATION,
    HEIGHT,
    by_name,
    colours,
    edits_axis,
    present,
    tooltips,
    versions_axis,
)
from dashboards.charts.multiples import domain
from dashboards.palette import BLUE, FATE_SHAPES, FATES, GREY, ORANGE, RED, STATES


def suite(table: pa.Table, *, ratio: bool = False) -> alt.LayerChart:
    """One suite over versions, to take away: value, 95% interval, what is asked for, what failed."""
    limits = domain(table.to_pylist(), ratio)
    scale = alt.Scale(domain=list(limits), nice=False, zero=False)
    axis = alt.Axis(format=".3~f" if ratio else ".3~%", tickCount=4, title=None)
    y = alt.Y("value:Q", scale=scale, axis=axis)
    base = alt.Chart(table).encode(x=versions_axis(None))
    band = base.mark_area(opacity=0.22, color=BLUE).encode(
        y=alt.Y("low:Q", scale=scale, axis=axis), y2=alt.Y2("high:Q")
    )
    threshold = base.mark_rule(strokeDash=[4, 4], color=GREY).encode(
        x=alt.X(), y=alt.Y("max(threshold):Q", scale=scale, axis=axis)
    )
    line = base.mark_line(color=BLUE, strokeWidth=1.5).encode(y=y)
    points = base.mark_point(filled=True, opacity=1).encode(
        y=y,
        color=alt.condition("datum.passed", alt.value(BLUE), alt.value(RED)),
        shape=alt.condition("datum.passed", alt.value("circle"), alt.value("cross")),
        size=alt.condition("datum.passed", alt.value(28), alt.value(90)),
        tooltip=[
            alt.Tooltip("number:Q", title="version"),
            alt.Tooltip("version:N", title="id"),
            alt.Tooltip("value:Q", format=".4f"),
            alt.Tooltip("low:Q", format=".4f", title="95% from"),
            alt.Tooltip("high:Q", format=".4f", title="to"),
            alt.Tooltip("threshold:Q", format=".4f", title="asked for"),
            alt.Tooltip("probes:Q"),
            alt.Tooltip("failed:Q"),
        ],
    )
    return alt.layer(band, threshold, line, points).properties(height=120)


def releases(table: pa.Table) -> alt.LayerChart:
    """Edits in and out of each version, its fate as shape and colour, rollbacks as a triangle."""
    base = alt.Chart(table).encode(x=versions_axis())
    tips = [
        alt.Tooltip("number:Q", title="version"),
        alt.Tooltip("version:N", title="id"),
        alt.Tooltip("fate:N"),
        alt.Tooltip("added:Q", title="edits in"),
        alt.Tooltip("removed:Q", title="edits out"),
        alt.Tooltip("reason:N", title="gate"),
    ]
    bars = base.mark_bar(width=3, color=GREY, opacity=0.5).encode(
        y=alt.Y("added:Q", axis=alt.Axis(title="edits added", tickMinStep=1, tickCount=4))
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=alt.Y("added:Q"),
        color=colours("fate:N", FATES),
        shape=alt.Shape("fate:N", scale=by_name(FATE_SHAPES)),
        tooltip=tips,
    )
    back = (
        base.transform_filter("datum.rollback > 0")
        .mark_point(shape="triangle-left", filled=True, size=140, color=ORANGE, yOffset=-14)
        .encode(
            y=alt.Y("added:Q"), tooltip=[*tips, alt.Tooltip("rollback:Q", title="gone back to")]
        )
    )
    return alt.layer(bars, points, back).properties(height=220)


def live_times(table: pa.Table) -> alt.LayerChart:
    """From report to use, the median and the slow end, by week."""
    base = alt.Chart(table).transform_fold(["p50", "p95"], as_=["part", "seconds"])
    x = alt.X(
        "week:T",
        axis=alt.Axis(title="week of first use", format="%d %b", grid=False, tickCount=8),
        scale=alt.Scale(padding=16),
    )
    y = alt.Y(
        "seconds:Q",
        scale=alt.Scale(type="log", nice=True),
        axis=alt.Axis(title="time from report to use", labelExpr=DURATION, values=_round(table)),
    )
    colour = colours("part:N", {"p50": BLUE, "p95": ORANGE})
    tips = [
        alt.Tooltip("week:T"),
        alt.Tooltip("edits:Q"),
        alt.Tooltip("part:N"),
        alt.Tooltip("seconds:Q", format=",.0f", title="seconds"),
    ]
    line = base.mark_line().encode(
        x=x, y=y, color=colour, strokeDash=alt.StrokeDash("part:N", legend=None)
    )
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=x, y=y, color=colour, shape=alt.Shape("part:N"), tooltip=tips
    )
    return alt.layer(line, points).properties(height=HEIGHT)


def _round(table: pa.Table) -> list[float]:
    """Round durations in seconds, around those of the table."""
    durations = [v for name in ("p50", "p95") for v in table[name].to_pylist() if v is not None]
    low, high = min(durations, default=1.0) / 2, max(durations, default=86400.0) * 2
    steps = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)
    return [step for step in steps if low <= step <= high]


def backlog(table: pa.Table) -> alt.Chart:
    """Edits that wait, by how long they have been where they are."""
    ages = ["under 1 hour", "1 to 24 hours", "1 to 7 days", "7 to 30 days", "over 30 days"]
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            y=alt.Y(
                "age:N",
                sort=ages,
                scale=alt.Scale(domain=ages),
                axis=alt.Axis(title=None, labelOverlap=False),
            ),
            x=edits_axis(),
            color=colours("state:N", present(table, "state", STATES)),
            tooltip=tooltips("age:N", "state:N", alt.Tooltip("edits:Q", format=",d")),
        )
        .properties(height=220)
    )
