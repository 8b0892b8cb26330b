"""Charts of routing: the map of keys, and what served traffic came to."""

from __future__ import annotations

import altair as alt
import pyarrow as pa

from dashboards.charts.base import by_name, colours, present, tooltips
from dashboards.palette import BLUE, GREEN, GREY, ORANGE, RED

KINDS = {"answers traffic": GREEN, "never hit": GREY, "an edit": BLUE, "crowded": RED}
SHAPES = {
    "answers traffic": "circle",
    "never hit": "square",
    "an edit": "circle",
    "crowded": "triangle-up",
}


def key_map(points: pa.Table) -> alt.Chart:
    """points: x, y, radius, kind, edit, subject, prompt, target, answers."""
    kinds = present(points, "kind", KINDS)
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    return (
        alt.Chart(points)
        .mark_point(filled=True, opacity=0.65)
        .encode(
            x=alt.X("x:Q", axis=axis, scale=alt.Scale(padding=14), title="first main direction"),
            y=alt.Y("y:Q", axis=axis, scale=alt.Scale(padding=14), title="second"),
            size=alt.Size(
                "radius:Q",
                scale=alt.Scale(range=[15, 160], zero=False),
                legend=alt.Legend(title="radius", orient="right", format=".2~f"),
            ),
            color=colours("kind:N", kinds),
            shape=alt.Shape("kind:N", scale=by_name(present(points, "kind", SHAPES))),
            tooltip=tooltips(
                "prompt:N",
                "target:N",
                "subject:N",
                alt.Tooltip("radius:Q", format=".3f"),
                alt.Tooltip("crowd:Q", title="others within reach"),
                alt.Tooltip("answers:Q", format=",d"),
                "edit:N",
            ),
        )
        .properties(height=460)
        .interactive()
    )


def share(table: pa.Table) -> alt.LayerChart:
    """Requests by hour, and how many of them an edit answered."""
    base = alt.Chart(table).encode(
        x=alt.X(
            "hour:T",
            axis=alt.Axis(title="hour, UTC", grid=False, tickCount=8),
            scale=alt.Scale(type="utc"),
        )
    )
    tips = [
        alt.Tooltip("hour:T", format="%Y-%m-%d %H:%M"),
        alt.Tooltip("answers:Q", format=",d"),
        alt.Tooltip("edited:Q", format=",d", title="by edits"),
        alt.Tooltip("share:Q", format=".1%"),
    ]
    y = alt.Axis(title="requests an hour", tickCount=5, format=",d")
    all_of_them = base.mark_area(color=GREY, opacity=0.3, line={"color": GREY}).encode(
        y=alt.Y("answers:Q", axis=y)
    )
    edited = base.mark_area(color=BLUE, opacity=0.7, line={"color": BLUE}).encode(
        y=alt.Y("edited:Q", axis=y)
    )
    points = base.mark_point(filled=True, size=18, color=BLUE).encode(
        y=alt.Y("edited:Q"), tooltip=tips
    )
    return alt.layer(all_of_them, edited, points).properties(height=240)


def reach(table: pa.Table) -> alt.LayerChart:
    """Served prompts by their distance in units of the radius; 1 is the border."""
    bars = (
        alt.Chart(table)
        .transform_calculate(end="datum.ratio + 0.05")
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X(
                "ratio:Q",
                scale=alt.Scale(domain=[0, 2.05]),
                axis=alt.Axis(title="distance / radius of the nearest edit", tickCount=8),
            ),
            x2=alt.X2("end:Q"),
            y=alt.Y(
                "answers:Q", stack=True, axis=alt.Axis(title="requests", tickCount=5, format=",d")
            ),
            color=colours("who:N", {"an edit": BLUE, "the backbone": ORANGE}, "answered by"),
            tooltip=tooltips("ratio:Q", "who:N", alt.Tooltip("answers:Q", format=",d")),
        )
    )
    border = (
        alt.Chart(pa.table({"ratio": [1.0]}))
        .mark_rule(strokeDash=[5, 4], color=GREY)
        .encode(x=alt.X("ratio:Q"))
    )
    return alt.layer(bars, border).properties(height=240)
