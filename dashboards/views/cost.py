"""Cost: what does a version take, in time, memory and bytes, and does that grow?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import cost as charts
from dashboards.queries import Costs
from dashboards.words import NOTHING, count, duration, size


def page() -> None:
    """The whole page."""
    parts.title("Cost", "What does a version take in time, memory and bytes, and does that grow?")
    with parts.guarded():
        data: Costs = session.ask("costs", last=filters.last_versions())
        if data.totals["versions"] == 0:
            parts.empty("There is no version yet", "What each one took shows here.", "melo run")
            return
        _cards(data)
        left, right = st.columns(2)
        with left:
            _stages(data)
        with right:
            _memory(data)
        left, right = st.columns(2)
        with left:
            _sizes(data, "rate", conclusions.of_rate, charts.rate, "Edits a second of training")
            _gate(data)
        with right:
            units = "Bytes of blocks, keys and records, without the backbone"
            _sizes(data, "bytes", conclusions.of_sizes, charts.sizes, units)


def _cards(data: Costs) -> None:
    totals, last = data.totals, (data.sizes.to_pylist() or [{}])[-1]
    rate = totals["rate"]
    parts.cards(
        [
            ("Time measured", duration(totals["seconds"]), f"in {count(totals['jobs'], 'job')}"),
            ("Edits a second", NOTHING if rate is None else f"{rate:.3g}", "of training, over all"),
            ("Peak memory", size(totals["memory_bytes"]), "of any stage"),
            (
                "GPU memory",
                size(totals["gpu_bytes"]) if totals["gpu_bytes"] else "none",
                "highest of any stage" if totals["gpu_bytes"] else "no GPU was used",
            ),
            (
                "Latest version",
                size(last.get("bytes")),
                f"{last['parameters']:,} parameters" if last.get("parameters") else "not on record",
            ),
        ]
    )


def _stages(data: Costs) -> None:
    summary = conclusions.of_stages(data.stages.to_pylist())
    if data.stages.num_rows == 0:
        parts.empty(
            summary,
            "Train, gate, register and promote are timed in every run from now on.",
            "melo run",
        )
        return
    units = "Seconds of each stage by version"
    parts.chart(summary, charts.seconds(data.stages), data.stages, "seconds", units=units)


def _memory(data: Costs) -> None:
    summary = conclusions.of_memory(data.stages.to_pylist())
    if data.stages.num_rows == 0:
        parts.empty(summary, "The peak memory of each stage shows here.")
        return
    units = "Peak memory of each stage by version; dashed: of the GPU"
    parts.chart(summary, charts.memory(data.stages), data.stages, "memory", units=units)


def _sizes(
    data: Costs,
    field: str,
    conclude: Callable[[list[dict[str, Any]]], str],
    draw: Callable[[pa.Table], alt.Chart],
    units: str,
) -> None:
    summary = conclude(data.sizes.to_pylist())
    measured = data.sizes.filter(pc.is_valid(data.sizes[field]))
    if measured.num_rows == 0:
        parts.empty(summary, f"{units}, by version, shows here.")
        return
    parts.chart(summary, draw(measured), measured, field, units=f"{units}, by version")


def _gate(data: Costs) -> None:
    gated = data.sizes.filter(pc.is_valid(data.sizes["cached"]))
    if gated.num_rows:
        summary = conclusions.of_gate(data.sizes.to_pylist())
        units = "Answers that each gate knew and generated"
        parts.chart(summary, charts.gate(gated), gated, "answers", units=units)


page()
