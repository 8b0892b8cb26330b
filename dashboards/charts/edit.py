"""Charts of one edit: its states over time, and how far its probes lie from its key."""

from __future__ import annotations

import altair as alt
import pyarrow as pa

from dashboards.charts.base import by_name, colours, present, tooltips
from dashboards.palette import BLUE, GREY, ORANGE, STATES

KINDS = [
    "own prompt",
    "own prompt, retired",
    "rephrase",
    "other relation",
    "other subject",
    "asked for something else",
]
ANSWERED_BY = {"this edit": BLUE, "another edit": ORANGE, "the backbone": GREY}
SHAPES = {"this edit": "circle", "another edit": "triangle-up", "the backbone": "square"}


def life(spans: pa.Table) -> alt.LayerChart:
    """A bar for each time in a state, with its beginning. spans: state, start, end, lasted, reason."""
    states = present(spans, "state", STATES)
    base = alt.Chart(spans).encode(
        y=alt.Y("state:N", sort=list(states), axis=alt.Axis(title=None)),
        color=alt.Color("state:N", scale=by_name(states), legend=None),
        tooltip=tooltips(
            "state:N",
            alt.Tooltip("start:T", format="%Y-%m-%d %H:%M:%S"),
            alt.Tooltip("end:T", format="%Y-%m-%d %H:%M:%S"),
            "lasted:N",
            "reason:N",
        ),
    )
    x = alt.X(
        "start:T",
        axis=alt.Axis(title="time, UTC", tickCount=6, labelOverlap=True),
        scale=alt.Scale(type="utc"),
    )
    bars = base.mark_bar(height=12, cornerRadius=3).encode(x=x, x2=alt.X2("end:T"))
    starts = base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    return alt.layer(bars, starts).properties(height=alt.Step(28))


def distances(table: pa.Table, radius: float | None, edit: str) -> alt.LayerChart:
    """A strip for each kind of probe: distance to the nearest key, caught or left alone, the radius."""
    kinds = [k for k in KINDS if k in set(table["kind"].to_pylist())]
    shown = alt.Chart(table).transform_calculate(
        who=f"datum.caught_by == '{edit}' ? 'this edit' : "
        "(datum.caught_by ? 'another edit' : 'the backbone')",
        jitter="random() - 0.5",
    )
    points = (
        shown.transform_filter("isValid(datum.distance)")
        .mark_point(filled=True, size=80, opacity=0.8)
        .encode(
            x=alt.X(
                "distance:Q",
                scale=alt.Scale(domainMin=0, nice=True),
                axis=alt.Axis(title="distance to the nearest key, 0 to 2", tickCount=6),
            ),
            y=alt.Y("kind:N", sort=kinds, axis=alt.Axis(title=None, labelLimit=200)),
            yOffset=alt.YOffset("jitter:Q", scale=alt.Scale(domain=[-1, 1])),
            color=colours("who:N", ANSWERED_BY, "answered by"),
            shape=alt.Shape("who:N", scale=by_name(SHAPES)),
            tooltip=tooltips(
                "prompt:N",
                "kind:N",
                alt.Tooltip("distance:Q", format=".3f"),
                alt.Tooltip("who:N", title="answered by"),
                "passed:N",
                "suite:N",
            ),
        )
    )
    layers: list[alt.Chart] = [points]
    if radius is not None:
        rule = alt.Chart(pa.table({"radius": [radius]})).encode(x=alt.X("radius:Q"))
        layers.append(rule.mark_rule(strokeDash=[5, 4], strokeWidth=2, color=BLUE))
        layers.append(
            rule.transform_calculate(said=f"'radius {radius:.2f}'")
            .mark_text(align="left", dx=5, baseline="top", color=BLUE, fontWeight="bold")
            .encode(y=alt.value(2), text=alt.Text("said:N"))
        )
    return alt.layer(*layers).properties(height=alt.Step(46))
