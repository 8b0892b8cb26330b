"""Version: why did it pass or fail, and what did it change?"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import version as charts
from dashboards.difference import marked
from dashboards.errors import RegistryAway
from dashboards.queries import VersionView
from dashboards.words import NOTHING, count, cut, duration, short, size, when
from ledger.insight.overview import SHARES

SHOWN = 5  # probes as cards; the table has more
GATE = {True: "passed", False: "failed", None: "not gated"}
ELSEWHERE = ":material/open_in_new:"  # beside links to other servers' pages


def page() -> None:
    """The whole page."""
    parts.title("Version", "Why did it pass or fail its gate, and what did it change?")
    with parts.guarded():
        names = session.ask("versions")
        if not names:
            parts.empty(
                "There is no version yet",
                "Each job's edits become a version; its verdict and its changes show here.",
                "melo run",
            )
            return
        options = {row["version"]: _name(row) for row in names}
        first = next((r["version"] for r in names if r["serves"]), names[0]["version"])
        chosen = filters.choice("Version", options, "version", first)
        which = filters.choice(
            "Probes",
            {"failed": "that failed", "changed": "that failed or changed their answer"},
            "probes",
            "failed",
            width=320,
        )
        data: VersionView = session.ask("version", version=chosen, only_failed=which == "failed")
        _cards(data)
        _links(data)
        _verdict(data)
        _probes(data)
        _changes(data)
        _taken_out(data)


def _name(row: dict[str, Any]) -> str:
    gate = GATE[row["gate"]]
    serves = " · champion" if row["serves"] else ""
    return (
        f"v{row['number']} · {short(row['version'])} · {gate} · {when(row['created_at'])}{serves}"
    )


def _cards(data: VersionView) -> None:
    facts, counts = data.facts, data.counts
    gate = GATE[facts["gate"]]
    served = (
        "serves now"
        if facts["serves"]
        else (f"first {when(facts['served_at'])}" if facts["served_at"] else "never served")
    )
    parts.cards(
        [
            ("Gate", gate, f"v{facts['number']}, {served}"),
            (
                "Edits in it",
                NOTHING if facts["edits"] is None else f"{facts['edits']:,}",
                f"+{facts['added']:,} −{facts['removed']:,}",
            ),
            (
                "Probes asked",
                f"{counts['asked']:,}",
                f"{counts['failed']:,} failed, {counts['changed']:,} changed",
            ),
            (
                "Gate took",
                duration(facts["gate_seconds"]),
                f"{facts['regenerated'] or 0:,} answers generated",
            ),
            (
                "Size",
                size(facts["bytes"]),
                f"{facts['parameters']:,} parameters" if facts["parameters"] else "not on record",
            ),
        ]
    )
    icon = {True: ":material/check_circle:", False: ":material/cancel:", None: ":material/help:"}
    st.markdown(
        f"{icon[facts['gate']]} {parts.escape(cut(facts['reason'] or 'No gate has spoken', 400))}"
    )


def _links(data: VersionView) -> None:
    facts, servers = data.facts, session.servers()
    with st.container(horizontal=True):
        if facts["parent"]:
            name = f"Parent v{facts['parent_number']}" if facts["parent_number"] else "Parent"
            parts.link("version", name, ":material/undo:", version=facts["parent"])
        if "prefect" in servers:
            page = f"{servers['prefect']}/artifacts/key/verdict-{facts['version'][:12]}"
            st.link_button("Verdict in Prefect", page, icon=ELSEWHERE)
        try:
            registered = session.registered(facts["version"])
        except RegistryAway as error:
            parts.away("MLflow is away", error)
            return
        if registered is None:
            st.caption("Not in MLflow: versions are logged there after their gate.")
            return
        aliases = f", alias {', '.join(registered.aliases)}" if registered.aliases else ""
        if "mlflow" in servers:
            pages, number = f"{servers['mlflow']}/#", registered.number
            version = f"{pages}/models/{registered.model}/versions/{number}"
            st.link_button(f"Version {number} in MLflow", version, icon=ELSEWHERE)
            run = f"{pages}/experiments/{registered.experiment}/runs/{registered.run}"
            st.link_button("Run in MLflow", run, icon=ELSEWHERE)
        st.caption(parts.escape(f"MLflow: {registered.model} version {registered.number}{aliases}"))


def _verdict(data: VersionView) -> None:
    if data.verdict.num_rows == 0:
        parts.empty("No verdict on record", "The gate's table shows here.", "melo gate")
        return
    rows = data.verdict.to_pylist()
    shares = data.verdict.filter(pc.is_in(data.verdict["metric"], pa.array(SHARES)))
    if shares.num_rows:
        parts.chart(
            conclusions.of_margins(rows),
            charts.margins(shares),
            shares,
            "verdict",
            units="Share of probes passed; grey tick: asked for; orange triangle: the parent's, which it "
            "was compared with; red cross: failed",
        )
    failed = sum(not r["passed"] for r in rows)
    summary = f"All {len(rows):,} checks passed"
    if failed:
        summary = f"{count(failed, 'check')} of {len(rows):,} failed"
    parts.heading(summary, "checks", data.verdict)
    parts.table(
        data.verdict,
        "verdict",
        height=min(420, 38 + 35 * len(rows)),
        column_config={
            "value": st.column_config.NumberColumn(format="%.4f"),
            "threshold": st.column_config.NumberColumn("asked for", format="%.4f"),
            "before": st.column_config.NumberColumn("parent", format="%.4f"),
            "change": st.column_config.NumberColumn(format="%+.4f"),
            "probes": st.column_config.NumberColumn(format="localized"),
        },
    )


def _probes(data: VersionView) -> None:
    rows = data.probes.to_pylist()
    if not rows:
        parts.nothing(f"No probe failed, of {data.counts['asked']:,} asked.")
        return
    caught = sum(r["edit"] is not None for r in rows)
    same = sum(not r["passed"] and r["before"] == r["after"] for r in rows)
    failed = count(data.counts["failed"], "probe")
    summary = f"{failed} failed; {caught:,} of those listed were answered by an edit"
    if same:
        summary += f", {same:,} were answered so before"
    parts.heading(summary, "failing-probes", data.probes)
    st.caption(
        "What a suite allows to fail does not fail the version. Before: the champion's answer."
    )
    for row in rows[:SHOWN]:
        _probe(row)
    if len(rows) > SHOWN:
        with st.expander(f"{len(rows) - SHOWN:,} more"):
            parts.table(data.probes.slice(SHOWN), "probes")


def _probe(row: dict[str, Any]) -> None:
    before, after = marked(row["before"], row["after"])
    with st.container(border=True):
        st.markdown(
            f"**{parts.escape(row['prompt'])}** · {parts.escape(row['suite'])}\n\n"
            f":small[:gray[{parts.escape(_caught(row))}]]"
        )
        left, right = st.columns(2)
        left.markdown(f"Before: {before}")
        right.markdown(f"After: {after}")
        if row["edit"] is not None:
            parts.link("edit", f"Edit {short(row['edit'])}", edit=row["edit"])


def _caught(row: dict[str, Any]) -> str:
    wanted = f"Expected: {row['expected']}. " if row["expected"] else ""
    distance = None if row["distance"] is None else f"{row['distance']:.3f}"
    if row["edit"] is None:
        near = "" if distance is None else f"; the nearest key lies {distance} away"
        return f"{wanted}The backbone answered{near}."
    where = "" if distance is None else f" at distance {distance}"
    return (
        f"{wanted}Caught by the edit “{cut(row['edit_prompt'])}” → "
        f"“{cut(row['edit_target'], 40)}”{where}."
    )


def _changes(data: VersionView) -> None:
    if data.changes.num_rows == 0:
        parts.nothing("It added no edit and took none out.")
        return
    ways = pc.value_counts(data.changes["way"]).to_pylist()
    summary = ", ".join(f"{w['counts']:,} {w['values']}" for w in ways)
    parts.heading(f"Edits: {summary}", "changes", data.changes)
    shown: pa.Table = data.changes.drop_columns(["now"])
    parts.table(
        shown,
        "changes",
        height=min(420, 38 + 35 * shown.num_rows),
        column_config={"by": "replaced by", "new_target": "new answer"},
    )


def _taken_out(data: VersionView) -> None:
    if data.taken_out.num_rows == 0:
        parts.nothing("The gate took no edit of its job out.")
        return
    summary = f"The gate took {count(data.taken_out.num_rows, 'edit')} of its job out"
    parts.heading(summary, "taken-out", data.taken_out)
    for row in data.taken_out.to_pylist()[:5]:
        with st.container(border=True):
            st.markdown(f"**{parts.escape(row['prompt'])}** → {parts.escape(row['target'] or '')}")
            st.caption(parts.escape(row["reason"]))
            parts.link("edit", f"Edit {short(row['edit'])}", edit=row["edit"])
    if data.taken_out.num_rows > 5:
        parts.table(data.taken_out.slice(5), "taken-out")


page()
