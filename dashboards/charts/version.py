"""Charts of one version: each suite's share beside what is asked and what the parent had."""

from __future__ import annotations

import altair as alt
import pyarrow as pa

from dashboards.charts.base import tooltips
from dashboards.palette import BLUE, GREY, ORANGE, RED


def margins(table: pa.Table) -> alt.LayerChart:
    """A line a suite: from what is asked (bar) to what it has (circle, cross), parent's as a tick."""
    base = alt.Chart(table).encode(
        y=alt.Y("suite:N", sort="x", axis=alt.Axis(title=None, labelLimit=220))
    )
    scale = alt.Scale(zero=False, nice=True, padding=10)
    x = alt.X(
        "value:Q",
        scale=scale,
        axis=alt.Axis(format=".3~%", title="share of probes passed", tickCount=6),
    )
    tips = tooltips(
        "suite:N",
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("threshold:Q", format=".4f", title="asked for"),
        alt.Tooltip("before:Q", format=".4f", title="parent"),
        "probes:Q",
        "failed:Q",
    )
    span = base.mark_rule(strokeWidth=5, opacity=0.35, color=GREY).encode(
        x=alt.X("threshold:Q", scale=scale), x2=alt.X2("value:Q")
    )
    threshold = base.mark_tick(color=GREY, thickness=3, size=16).encode(
        x=alt.X("threshold:Q", scale=scale), tooltip=tips
    )
    before = base.mark_point(
        shape="triangle-down", size=80, color=ORANGE, filled=True, yOffset=-9
    ).encode(x=alt.X("before:Q", scale=scale), tooltip=tips)
    now = base.mark_point(filled=True, opacity=1).encode(
        x=x,
        tooltip=tips,
        color=alt.condition("datum.passed", alt.value(BLUE), alt.value(RED)),
        shape=alt.condition("datum.passed", alt.value("circle"), alt.value("cross")),
        size=alt.condition("datum.passed", alt.value(70), alt.value(140)),
    )
    return alt.layer(span, threshold, before, now).properties(height=alt.Step(26))
