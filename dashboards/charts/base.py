"""What every chart shares: axes in people's units, and the file formats it can be had in."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import altair as alt
import pyarrow as pa
from altair.utils.schemapi import disable_debug_mode
from pyarrow import csv

alt.data_transformers.disable_max_rows()
disable_debug_mode()  # charts are held against Vega-Lite's schema by the tests, not at every drawing

Picture: TypeAlias = alt.TopLevelMixin | Callable[[], alt.TopLevelMixin]  # or how to draw it

HEIGHT = 260
# Seconds on an axis, in the unit that fits.
DURATION = (
    "datum.value >= 86400 ? format(datum.value / 86400, '.3~r') + ' d' : "
    "datum.value >= 3600 ? format(datum.value / 3600, '.3~r') + ' h' : "
    "datum.value >= 60 ? format(datum.value / 60, '.3~r') + ' min' : "
    "datum.value >= 1 ? format(datum.value, '.3~r') + ' s' : "
    "format(datum.value * 1000, '.3~r') + ' ms'"
)


def versions_axis(title: str | None = "version", **more: Any) -> alt.X:
    """The number of a version, whole numbers only."""
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=6, grid=False, title=title)
    return alt.X("number:Q", axis=axis, scale=alt.Scale(zero=False, nice=False, padding=8), **more)


def edits_axis() -> alt.X:
    """A number of edits."""
    axis = alt.Axis(title="edits", tickMinStep=1, tickCount=5, format=",d")
    return alt.X("edits:Q", axis=axis)


def present(table: pa.Table, field: str, names: Mapping[str, str]) -> dict[str, str]:
    """Those of the names that occur in a column, in their own order."""
    values = set(table[field].to_pylist())
    return {name: look for name, look in names.items() if name in values}


def by_name(looks: Mapping[str, str]) -> alt.Scale:
    """Names and the colour or shape of each."""
    return alt.Scale(domain=list(looks), range=list(looks.values()))


def colours(field: str, looks: Mapping[str, str], title: str | None = None) -> alt.Color:
    """A colour for each name, explained above the chart."""
    return alt.Color(field, scale=by_name(looks), legend=alt.Legend(orient="top", title=title))


def tooltips(*fields: str | alt.Tooltip) -> list[alt.Tooltip]:
    """What is shown at the pointer. As objects: altair would look each shorthand up by schema."""
    return [alt.Tooltip(f) if isinstance(f, str) else f for f in fields]


def png(chart: Picture, title: str) -> bytes:
    """The chart as a picture on white, its title above it."""
    import vl_convert

    chart = chart if isinstance(chart, alt.TopLevelMixin) else chart()
    picture: bytes = vl_convert.vegalite_to_png(_printed(chart, title), scale=2)
    return picture


def svg(chart: alt.TopLevelMixin) -> str:
    """The chart as SVG text on white, to stand in a file of its own."""
    import vl_convert

    markup: str = vl_convert.vegalite_to_svg(_printed(chart, ""))
    return markup


def csv_of(table: pa.Table) -> bytes:
    """The rows behind a chart; a list becomes text with semicolons."""
    columns = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_nested(column.type):
            column = pa.array(
                [None if v is None else "; ".join(map(str, v)) for v in column.to_pylist()],
                pa.string(),
            )
        elif pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        columns.append(column)
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table(columns, table.column_names), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _printed(chart: alt.TopLevelMixin, title: str) -> dict[str, Any]:
    """The chart's specification for paper: white, of a fixed size, its title above it."""
    spec: dict[str, Any] = chart.to_dict()
    spec["background"] = "white"
    spec["padding"] = 16
    if title:
        lines = textwrap.wrap(title, 91, break_long_words=False, break_on_hyphens=False)
        spec["title"] = {"text": lines, "anchor": "start", "fontSize": 15, "offset": 12}
    if not {"hconcat", "vconcat", "concat", "facet", "repeat"} & spec.keys():
        for key, value in (("width", 720), ("height", HEIGHT)):
            if not isinstance(spec.get(key), int | float | dict):
                spec[key] = value
    return spec
