"""Queue: what waits and why, who decides it, and whose reports are any good?"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import queue as charts
from dashboards.queries import Queue
from dashboards.review import review
from dashboards.words import count, duration, short, when
from ledger.states import PENDING

EACH = 5  # contradictions on a page


def page() -> None:
    """The whole page."""
    parts.title("Queue", "What waits and why, and what does a person have to decide?")
    with parts.guarded():
        chosen_filters = filters.state_and_source(PENDING, session.ask("sources"))
        data: Queue = session.ask("queue", now=session.now(), **chosen_filters)
        _cards(data)
        review()
        left, right = st.columns(2)
        with left:
            _reasons(data)
        with right:
            _quarantine(data)
        _contradictions(data)
        _sources(data)
        _edits(data)


def _cards(data: Queue) -> None:
    rows = data.reasons.to_pylist()
    oldest = max((r["oldest_seconds"] for r in rows), default=None)
    lines = pc.sum(data.quarantine["lines"]).as_py() or 0
    parts.cards(
        [
            (
                "Waiting",
                f"{sum(r['edits'] for r in rows):,}",
                f"{sum(r['urgent'] for r in rows):,} urgent",
            ),
            ("Longest wait", duration(oldest), "in its present state"),
            (
                "For a person",
                f"{data.review.num_rows:,}" + ("+" if data.review.num_rows >= 100 else ""),
                "on the review list",
            ),
            (
                "Contradictions open",
                f"{data.open_contradictions:,}",
                f"of {data.all_contradictions:,} found",
            ),
            (
                "Lines in quarantine",
                f"{lines:,}",
                f"for {count(data.quarantine.num_rows, 'reason')}",
            ),
        ]
    )


def _reasons(data: Queue) -> None:
    summary = conclusions.of_reasons(data.reasons.to_pylist())
    if data.reasons.num_rows == 0:
        parts.empty(summary, "Every edit has come to an end or is in use.")
        return
    units = "Edits by what they wait for"
    parts.chart(summary, charts.reasons(data.reasons), data.reasons, "waiting", units=units)


def _quarantine(data: Queue) -> None:
    if data.quarantine.num_rows == 0:
        parts.nothing("No line is in quarantine.")
        return
    first = data.quarantine.to_pylist()[0]
    summary = f"Most lines that can't be used: {first['reason']}"
    parts.heading(summary, "quarantine", data.quarantine)
    columns = {
        "lines": st.column_config.NumberColumn(format="localized"),
        "latest": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
    }
    parts.table(data.quarantine, "quarantine", column_config=columns)
    parts.commands("melo quarantine list", "melo quarantine retry")


def _contradictions(data: Queue) -> None:
    if data.all_contradictions == 0:
        parts.nothing("No two edits contradict each other.")
        return
    st.markdown(
        f"#### {count(data.open_contradictions, 'contradiction')} still open, of "
        f"{data.all_contradictions:,} found"
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = filters.choice(
            "Contradictions",
            {"open": "that are open", "all": "all"},
            "contradictions",
            "open" if data.open_contradictions else "all",
            width=180,
        )
        total = data.open_contradictions if which == "open" else data.all_contradictions
        place = filters.pages("page", total, EACH)
    rows = session.ask("contradictions", only_open=which == "open", limit=EACH, offset=place * EACH)
    if not rows:
        parts.nothing("None is open: each was decided by rule.")
    for number, row in enumerate(rows):
        _pair(row, number)


def _pair(row: dict[str, Any], number: int) -> None:
    with st.container(border=True):
        decided = f"decided by {row['rule']}" if row["decided"] else "nobody has won yet"
        st.caption(
            f"{parts.escape(decided)}, {when(row['decided_at'])}"
            + ("" if row["settled"] else " · **open**")
        )
        titles = ("Stands", "Gives way") if row["decided"] else ("One says", "The other says")
        sides = (("winner", titles[0]), ("loser", titles[1]))
        for column, (side, title) in zip(st.columns(2), sides, strict=True):
            with column:
                if row[side] is None:
                    st.markdown(f"**Undecided**\n\n{parts.escape('About ' + row['key'])}")
                    continue
                origin = (
                    f"{row[f'{side}_source']}, {when(row[f'{side}_received'])}, "
                    f"now {row[f'{side}_state']}"
                )
                st.markdown(
                    f"**{title}**: {parts.escape(row[f'{side}_prompt'] or '')}\n\n"
                    f"→ **{parts.escape(row[f'{side}_target'] or 'no answer')}**\n\n"
                    f":small[:gray[{parts.escape(origin)}]]"
                )
                parts.link("edit", short(row[side]), edit=row[side])


def _sources(data: Queue) -> None:
    if data.sources.num_rows == 0:
        parts.empty(
            "No source has reported yet",
            "Who reports, and how much of it is kept, shows here.",
            "melo ingest reports.jsonl --source support",
        )
        return
    summary = conclusions.of_sources(data.sources.to_pylist())
    decided = data.sources.filter(pc.is_valid(data.sources["acceptance"]))
    if decided.num_rows:
        parts.chart(
            summary,
            charts.acceptance(decided),
            decided,
            "sources",
            units="Edits in use as a share of those accepted or rejected; the number is how many were "
            "decided; grey: blocked",
        )
    parts.table(
        data.sources,
        "sources",
        column_order=tuple(
            (
                "source trust policy blocked lines weeks duplicates quarantined held active "
                "rejected acceptance latest"
            ).split()
        ),
        column_config={
            "trust": st.column_config.ProgressColumn(min_value=0, max_value=100, format="%d"),
            "weeks": st.column_config.BarChartColumn("lines, last 26 weeks"),
            "lines": st.column_config.NumberColumn(format="localized"),
            "acceptance": st.column_config.NumberColumn(format="percent"),
            "latest": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
    )


def _edits(data: Queue) -> None:
    if data.edits.num_rows == 0:
        parts.nothing("No edit of this state and source waits.")
        return
    longest = "200" if data.edits.num_rows == 200 else f"{data.edits.num_rows:,}"
    parts.heading(f"The {longest} edits that wait longest", "edits", data.edits)
    columns = {"hours": st.column_config.NumberColumn("waits, hours", format="%.1f")}
    parts.table(data.edits, "edits", column_config=columns)


page()
