"""Parts of a page: a chart with its summary and downloads, and what is shown where there is none."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import altair as alt
import pyarrow as pa
import streamlit as st

from config import ConfigError, default_home
from dashboards.charts.base import Picture, csv_of, png
from dashboards.charts.multiples import STYLE, multiples
from dashboards.errors import DashboardError
from dashboards.words import from_home
from ledger import LedgerError

_multiples = st.components.v2.component(
    "multiples",
    html='<div class="multiples"></div>',
    css=STYLE,
    js="export default ({parentElement, data}) => "
    "{ parentElement.querySelector('.multiples').innerHTML = data }",
)
CANVAS = {"embedOptions": {"renderer": "canvas"}}
CARD = 172  # pixels: five in a row on a laptop, two on a phone; 20 letters below the figure


def title(name: str, question: str) -> None:
    """The page's name and the question that it answers."""
    st.title(name)
    st.caption(question)


def cards(items: Sequence[tuple[str, str, str]], helps: Sequence[str | None] = ()) -> None:
    """Figures in a row that wraps: label, value, and what stands small below it."""
    with st.container(horizontal=True, gap="xsmall"):
        for place, (label, value, below) in enumerate(items):
            st.metric(
                label,
                escape(value),
                escape(below),
                border=True,
                delta_color="off",
                delta_arrow="off",
                width=CARD,
                help=escape(helps[place] or "") if place < len(helps) and helps[place] else None,
            )


def heading(summary: str, name: str, rows: pa.Table, picture: Picture | None = None) -> None:
    """A summary; at its right a small menu with rows as CSV and picture as PNG, made on download."""
    left, right = st.columns([0.82, 0.18], vertical_alignment="bottom")
    left.markdown(f"#### {escape(summary)}")
    about = f"Download: {escape(summary)}"
    with (
        right,
        st.container(horizontal=True, horizontal_alignment="right"),
        st.popover("Save", help=about, key=f"get-{name}", type="tertiary"),
    ):
        st.download_button(
            f"CSV, {rows.num_rows:,} rows",
            partial(csv_of, rows),
            f"{name}.csv",
            "text/csv",
            key=f"csv-{name}",
            on_click="ignore",
            icon=":material/table:",
        )
        if picture is not None:
            st.download_button(
                "PNG, for print and slides",
                partial(png, picture, summary),
                f"{name}.png",
                "image/png",
                key=f"png-{name}",
                on_click="ignore",
                icon=":material/image:",
            )


def chart(
    summary: str, picture: alt.TopLevelMixin, table: pa.Table, name: str, *, units: str = ""
) -> None:
    """A chart below its summary. name: of the downloaded files.

    units: what the axes count; also read out by a screen reader.
    """
    heading(summary, name, table, picture)
    if units:
        st.caption(escape(units))
    # On one canvas: hundreds of marks, each an element with a label of its own, would be late.
    styled = picture.properties(usermeta=CANVAS).configure_mark(aria=False)
    st.altair_chart(styled, width="stretch", alt=f"{summary}. {units}", key=f"chart-{name}")


def small_multiples(charts: Sequence[tuple[str, str]]) -> None:
    """Many small drawings below their summaries, as `dashboards.charts.multiples` makes them."""
    _multiples(data=multiples(charts), key="multiples")


def table(rows: pa.Table | list[dict[str, Any]], name: str, **options: Any) -> Any:
    """Rows to read, sort and search; `column_config` as Streamlit takes it."""
    shown = rows.to_pandas() if isinstance(rows, pa.Table) else rows
    return st.dataframe(shown, hide_index=True, width="stretch", key=f"table-{name}", **options)


def link(page: str, label: str, icon: str | None = None, **query: str) -> None:
    """A link to another page of ours, with its filters."""
    st.page_link(f"views/{page}.py", label=escape(label), icon=icon, query_params=query or None)


def nothing(text: str) -> None:
    """A line where a part has nothing to show, and that is fine."""
    st.markdown(f":material/check_circle: {escape(text)}")


def empty(what: str, why: str, command: str | None = None) -> None:
    """Nothing to show, which is no error: what would be here, and what would fill it."""
    with st.container(border=True):
        st.markdown(f":material/inbox: **{escape(what)}**")
        st.markdown(escape(why))
        if command:
            commands(command)


def commands(*lines: str) -> None:
    """Commands to type, a line each; a block of code would fetch a highlighter for every language."""
    st.markdown("  \n".join(f"`{line}`" for line in lines))


def away(what: str, error: Exception) -> None:
    """A source that can't be read now; the rest of the page stands."""
    with st.container(border=True):
        st.markdown(f":material/cloud_off: **{escape(what)}**")
        st.markdown(escape(from_home(str(error), default_home())))


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Shows an expected error on the page, in a sentence."""
    try:
        yield
    except LedgerError as error:
        away("The ledger can't be read at the moment", error)
    except ConfigError as error:
        away("The home's settings can't be read", error)
    except DashboardError as error:
        away("This can't be shown at the moment", error)


def escape(text: str) -> str:
    """Text as it is: nothing in it is markup, an icon, a colour or a formula."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:])", r"\\\1", text)
