"""Edit: find one, see its whole life, and how far it reaches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import edit as charts
from dashboards.palette import STATES
from dashboards.queries import EditView
from dashboards.words import NOTHING, age, count, duration, short, when

ICONS = {
    "report": ":material/description:",
    "contest": ":material/balance:",
    "retirement": ":material/event_busy:",
    "active": ":material/check_circle:",
    "rejected": ":material/cancel:",
    "held": ":material/pause_circle:",
    "revoked": ":material/undo:",
    "superseded": ":material/swap_horiz:",
    "expired": ":material/event_busy:",
}


def page() -> None:
    """The whole page."""
    parts.title("Edit", "What became of a report, and how far does its edit reach?")
    with parts.guarded():
        text = filters.text(
            "Search prompts, answers, subjects and ids", "q", placeholder="Who leads Acme?"
        )
        chosen_filters = filters.state_and_source(STATES, session.ask("sources"))
        matches: pa.Table = session.ask("search", text=text, **chosen_filters)
        if st.session_state.get("searched", text) != text:
            filters.remember("edit", "", "")  # another search: what it finds first is shown
        st.session_state["searched"] = text
        picked = _pick(matches, text)
        first = str(matches["edit"][0].as_py()) if matches.num_rows else None
        chosen = picked or st.query_params.get("edit") or first
        if chosen is None:
            return
        if picked:
            st.query_params["edit"] = picked
        st.divider()
        _edit(session.ask("edit", edit=chosen))


def _pick(matches: pa.Table, text: str) -> str | None:
    if matches.num_rows == 0:
        parts.empty(
            "No edit is like that" if text else "There is no edit yet",
            "Search for another word, or set state and source back to every."
            if text
            else "Reports that can be used become edits and show here.",
            None if text else "melo ingest reports.jsonl",
        )
        return None
    least = "The latest 100" if matches.num_rows == 100 else count(matches.num_rows, "edit")
    parts.heading(f"{least}: pick one", "found", matches)
    picked = parts.table(
        matches,
        "found",
        on_select="rerun",
        selection_mode="single-row",
        height=min(248, 38 + 35 * matches.num_rows),
        column_config={
            "edit": st.column_config.TextColumn(width="small"),
            "received_at": st.column_config.DatetimeColumn("came in", format="YYYY-MM-DD HH:mm"),
        },
    )
    rows = picked.selection.rows if picked else []
    return str(matches["edit"][rows[0]].as_py()) if rows else None


def _edit(data: EditView) -> None:
    facts = data.facts
    st.markdown(
        f"### {parts.escape(facts['prompt'])} → {parts.escape(facts['target'] or 'no answer yet')}"
    )
    steps = data.timeline.to_pylist()
    live = next((s["happened_at"] for s in steps if s["what"] == "active"), None)
    parts.cards(
        [
            ("State", facts["state"], f"for {age(facts['since'], session.now())}"),
            (
                "From report to live",
                duration((live - facts["received_at"]).total_seconds()) if live else NOTHING,
                "after it came in",
            ),
            ("Reported", f"{facts['reported']:,}×", f"by {count(facts['reporters'], 'source')}"),
            (
                "Radius",
                NOTHING if data.radius is None else f"{data.radius:.3f}",
                f"about {facts['subject']}" if facts["subject"] else "bound to no subject",
            ),
        ]
    )
    st.caption(
        parts.escape(
            f"{facts['edit']} · {facts['kind']} from {facts['source']}, {when(facts['received_at'])} · "
            f"trust {facts['trust']}"
        )
    )
    if facts["version"]:
        parts.link("version", f"Version {short(facts['version'])}", version=facts["version"])
    _life(data, steps)
    _distances(data)


def _life(data: EditView, steps: list[dict[str, Any]]) -> None:
    summary = conclusions.of_life(data.facts, steps)
    spans = spans_of(steps, session.now())
    if spans.num_rows:
        parts.chart(summary, charts.life(spans), spans, "life", units="States over time, UTC")
    parts.heading(
        f"All that happened to it: {count(len(steps), 'entry', 'entries')}",
        "timeline",
        data.timeline,
    )
    for step in steps[:40]:
        icon = ICONS.get(step["what"], ICONS.get(step["kind"], ":material/arrow_forward:"))
        detail = f": {step['detail']}" if step["detail"] else ""
        st.markdown(
            f"{icon} {when(step['happened_at'])} **{parts.escape(step['what'])}**"
            f"{parts.escape(detail)} · {parts.escape(step['actor'])}"
        )
        if step["other"]:
            parts.link("edit", f"The other edit, {short(step['other'])}", edit=step["other"])
    if len(steps) > 40:
        parts.table(data.timeline.slice(40), "timeline")


def spans_of(steps: list[dict[str, Any]], now: datetime) -> pa.Table:
    """How long the edit was in each state: state, start, end, lasted, reason."""
    states = [s for s in steps if s["kind"] == "state"]
    ends = [s["happened_at"] for s in states[1:]]
    if states:
        ends.append(max(now, states[-1]["happened_at"]))
    rows = [
        {
            "state": step["what"],
            "start": step["happened_at"],
            "end": end,
            "lasted": duration((end - step["happened_at"]).total_seconds()),
            "reason": step["detail"],
        }
        for step, end in zip(states, ends, strict=True)
    ]
    return pa.Table.from_pylist(rows)


def _distances(data: EditView) -> None:
    if data.distances.num_rows == 0:
        parts.empty(
            "No probe of it is on record",
            "Each gate asks its own prompt, its rephrases and near-misses; their distances show here.",
        )
        return
    rows = data.distances.to_pylist()
    edit = data.facts["edit"]
    summary = conclusions.of_distances(rows, edit, data.radius)
    if any(r["distance"] is not None for r in rows):
        parts.chart(
            summary,
            charts.distances(data.distances, data.radius, edit),
            data.distances,
            "distances",
            units="Distance between keys, 0 to 2; dashed: how far the edit reaches",
        )
    else:
        parts.heading(summary, "distances", data.distances)
    if data.problem:
        st.caption(parts.escape(f"The radius isn't known: {data.problem}"))
    without = pc.sum(pc.is_null(data.distances["distance"])).as_py() or 0
    if without:
        st.caption(
            f"{count(without, 'probe')} more named no subject of any edit: no key came into question."
        )
    with st.expander("The probes"):
        parts.table(data.distances, "distances")


page()
