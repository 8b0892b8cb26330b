"""Overview: what serves now, and is it getting better or worse?"""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import overview as charts
from dashboards.charts.multiples import suite
from dashboards.errors import RegistryAway
from dashboards.palette import SEVERITIES
from dashboards.queries import Overview
from dashboards.report import figures, suites, together
from dashboards.words import count, cut, short, when
from ledger.insight.overview import SHARES

SHOWN = 8  # alerts


def page() -> None:
    """The whole page."""
    parts.title("Overview", "Is the model getting better or worse, and is anything stuck?")
    with parts.guarded():
        last = filters.last_versions()
        data: Overview = session.ask("overview", now=session.now(), last=last)
        _headline(data)
        slot = st.container()
        if data.champion is None and data.headline["reports"] == 0:
            parts.empty(
                "Nothing has come in yet",
                "Reports and facts that are taken in show here, and each version that is made of them.",
                "melo ingest reports.jsonl",
            )
            return
        _alerts(data.alerts)
        _suites(data)
        left, right = st.columns(2)
        with left:
            _releases(data.releases)
        with right:
            _live(data.live_times)
        left, right = st.columns(2)
        with left:
            _backlog(data.backlog)
        if data.champion:
            with slot:
                _agreement(data.champion)


def _headline(data: Overview) -> None:
    champion = data.champion
    champion_help = None
    if champion:
        champion_help = (
            f"{champion['version']}, since {when(champion['since'])}, by {champion['actor']}: "
            f"{champion['reason']}"
        )
    live_help = (
        f"Half of the {count(data.headline['live_edits'], 'edit')} that came into use in 30 days were "
        "in use this long after their report (p50), 95% within p95."
    )
    edits_help = "Edits in use now, and the lines that were ever taken in."
    parts.cards(figures(data, session.now()), [champion_help, edits_help, None, live_help])
    if champion:
        parts.link("version", f"Look at v{champion['number']}", version=champion["version"])


def _agreement(champion: dict[str, Any]) -> None:
    """Whether MLflow agrees; shown last, since a server may take its time."""
    agreed = session.agreement(champion["version"])
    if agreed.problem:
        parts.away("MLflow can't be compared", RegistryAway(agreed.problem))
    elif not agreed.agrees:
        st.warning(
            f"MLflow's alias champion stands for {short(agreed.registry)}, the ledger says "
            f"{short(champion['version'])}. The next run, or melo doctor, mends that.",
            icon=":material/sync_problem:",
        )


def _alerts(alerts: list[dict[str, Any]]) -> None:
    if not alerts:
        parts.nothing("No alert in the last 24 hours.")
        return
    st.markdown(f"#### {count(len(alerts), 'alert')} in the last 24 hours")
    lines = []
    for alert in alerts[:SHOWN]:
        icon = SEVERITIES.get(alert["severity"], SEVERITIES["warning"])
        name = f" `{short(alert['version'])}`" if alert["version"] else ""
        lines.append(
            f"{icon} **{parts.escape(alert['kind'])}**{name} {when(alert['happened_at'])}: "
            f"{parts.escape(cut(alert['message'], 240))}"
        )
    st.markdown("\n\n".join(lines))
    if len(alerts) > SHOWN:
        with st.expander(f"{len(alerts) - SHOWN} more"):
            parts.table(alerts[SHOWN:], "alerts")


def _suites(data: Overview) -> None:
    groups = suites(data)
    if not groups:
        parts.empty(
            "No version has been gated yet",
            "Each suite of probes shows here, version by version, with its 95% interval.",
            "melo run",
        )
        return
    summary = conclusions.of_suites(groups)
    parts.heading(summary, "suites", data.suites, partial(together, data))
    st.caption(
        "Share of probes passed by version number, with its 95% interval; dashed: what is asked for; "
        "a red cross: the suite failed; a point leads to its version. accurate-retention is a ratio of "
        "perplexities, 1 is unchanged."
    )
    multiples = []
    for rows in groups.values():
        summary = conclusions.of_suite(rows)
        multiples.append(
            (summary, suite(f"{summary}, by version", rows, ratio=rows[-1]["metric"] not in SHARES))
        )
    parts.small_multiples(multiples)


def _releases(table: pa.Table) -> None:
    if table.num_rows == 0:
        return
    parts.chart(
        conclusions.of_releases(table.to_pylist()),
        charts.releases(table),
        table,
        "releases",
        units="Edits added by each version; triangle: somebody went back to it",
    )


def _live(table: pa.Table) -> None:
    summary = conclusions.of_live_times(table.to_pylist())
    if table.num_rows == 0:
        parts.empty(summary, "The time from report to use shows here, week by week.")
        return
    parts.chart(
        summary,
        charts.live_times(table),
        table,
        "report-to-live",
        units="Time from report to first use (log scale), median and 95th percentile by week",
    )


def _backlog(table: pa.Table) -> None:
    summary = conclusions.of_backlog(table.to_pylist())
    if table.num_rows == 0:
        parts.empty(summary, "Every edit has come to an end or is in use.")
        return
    parts.chart(
        summary,
        charts.backlog(table),
        table,
        "backlog",
        units="Edits by the time since they came into their present state",
    )


page()
