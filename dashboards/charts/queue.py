"""Charts of the queue: why edits wait, and how much of what each source says is kept."""

from __future__ import annotations

import altair as alt
import pyarrow as pa

from dashboards.charts.base import colours, edits_axis, present, tooltips
from dashboards.palette import BLUE, GREY, STATES


def reasons(table: pa.Table) -> alt.Chart:
    """Edits that wait by reason, by state."""
    return (
        alt.Chart(table)
        .transform_calculate(hours="datum.oldest_seconds / 3600")
        .mark_bar()
        .encode(
            y=alt.Y("why:N", sort="-x", axis=alt.Axis(title=None, labelLimit=220)),
            x=edits_axis(),
            color=colours("state:N", present(table, "state", STATES)),
            tooltip=tooltips(
                "why:N",
                "state:N",
                alt.Tooltip("edits:Q", format=",d"),
                "urgent:Q",
                alt.Tooltip("hours:Q", format=".1f", title="oldest, hours"),
            ),
        )
        .properties(height=alt.Step(26))
    )


def acceptance(table: pa.Table) -> alt.LayerChart:
    """Share of each source's decided edits that are in use, with how many that are."""
    base = alt.Chart(table).encode(
        y=alt.Y("source:N", sort="-x", axis=alt.Axis(title=None, labelLimit=220))
    )
    x = alt.X(
        "acceptance:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", title="in use, of what was decided", tickCount=5),
    )
    tips = tooltips(
        "source:N",
        alt.Tooltip("acceptance:Q", format=".1%"),
        alt.Tooltip("active:Q", format=",d"),
        alt.Tooltip("rejected:Q", format=",d"),
        alt.Tooltip("lines:Q", format=",d"),
        alt.Tooltip("trust:Q"),
    )
    bars = base.mark_bar().encode(
        x=x,
        tooltip=tips,
        color=alt.condition("datum.blocked", alt.value(GREY), alt.value(BLUE)),
    )
    numbers = (
        base.transform_calculate(said="format(datum.active + datum.rejected, ',d')")
        .mark_text(align="right", dx=-5, color="white", fontSize=11)
        .encode(x=x, text=alt.Text("said:N"))
    )
    return alt.layer(bars, numbers).properties(height=alt.Step(24))
