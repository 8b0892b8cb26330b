"""The overview as a file: text to read in a terminal, or one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import altair as alt
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from dashboards import conclusions
from dashboards.charts import overview as charts
from dashboards.charts.base import svg
from dashboards.queries import Overview
from dashboards.words import NOTHING, age, count, duration, share, short, when
from ledger.insight.overview import SHARES

FOLDER = Path(__file__).parent
COLUMNS = 3  # of small charts beside each other


def as_text(data: Overview, now: datetime) -> str:
    """The overview's figures, summaries and alerts, a line each."""
    lines = [f"{label}: {value} ({below})" for label, value, below in figures(data, now)]
    lines += ["", *(title for title, _ in _sections(data))]
    for alert in data.alerts:
        lines.append(
            f"{alert['severity']}: {alert['kind']}, {when(alert['happened_at'])}: {alert['message']}"
        )
    if not data.alerts:
        lines.append("No alert in the last 24 hours.")
    return "\n".join(lines)


def as_html(data: Overview, now: datetime, since: datetime | None, link: str) -> str:
    """The overview as a page of its own; its charts are drawn into it. link: to the dashboards."""
    loader = FileSystemLoader(FOLDER)
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]))
    environment.filters["when"] = when
    return environment.get_template("report.html").render(
        figures=figures(data, now),
        sections=[(title, Markup(svg(chart)) if chart else "") for title, chart in _sections(data)],
        alerts=data.alerts,
        suites=[rows[-1] for rows in suites(data).values()],
        now=when(now),
        since=when(since) if since else None,
        link=link,
    )


def figures(data: Overview, now: datetime) -> list[tuple[str, str, str]]:
    """The headline: label, value, and what stands small below it."""
    head, champion = data.headline, data.champion
    gates = head["gates_passed"] + head["gates_failed"]
    return [
        ("Champion", f"v{champion['number']}", short(champion["version"]))
        if champion
        else ("Champion", "none", "the backbone answers"),
        ("Edits in use", f"{head['active']:,}", f"of {count(head['reports'], 'line')}"),
        (
            "Waiting",
            f"{head['waiting']:,}",
            f"oldest {age(head['oldest'], now)}" if head["waiting"] else "nothing waits",
        ),
        (
            "Report to live",
            duration(head["live_p50"]),
            f"p50; p95 {duration(head['live_p95'])}" if head["live_edits"] else "none in 30 days",
        ),
        (
            "Past the gate",
            f"{head['gates_passed']:,} of {gates:,}" if gates else NOTHING,
            f"{share(head['gates_passed'] / gates)} in 30 days" if gates else "none in 30 days",
        ),
    ]


def suites(data: Overview) -> dict[str, list[dict[str, Any]]]:
    """The rows of each suite, oldest version first."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in data.suites.to_pylist():
        groups[row["suite"]].append(row)
    return groups


def _sections(data: Overview) -> list[tuple[str, alt.TopLevelMixin | None]]:
    """Each part's summary and chart, None where it has none to draw."""
    groups = suites(data)
    sections: list[tuple[str, alt.TopLevelMixin | None]] = []
    if groups:
        sections.append((conclusions.of_suites(groups), together(data)))
    if data.releases.num_rows:
        rows = data.releases.to_pylist()
        sections.append((conclusions.of_releases(rows), charts.releases(data.releases)))
    rows = data.live_times.to_pylist()
    sections.append(
        (conclusions.of_live_times(rows), charts.live_times(data.live_times) if rows else None)
    )
    rows = data.backlog.to_pylist()
    sections.append((conclusions.of_backlog(rows), charts.backlog(data.backlog) if rows else None))
    return sections


def together(data: Overview) -> alt.ConcatChart:
    """All suites as small multiples in one picture."""
    multiples = []
    for name, rows in suites(data).items():
        table = data.suites.filter(pc.equal(data.suites["suite"], name))
        chart = charts.suite(table, ratio=rows[-1]["metric"] not in SHARES)
        multiples.append(chart.properties(width=230, title=conclusions.of_suite(rows)))
    return alt.concat(*multiples, columns=COLUMNS).resolve_scale(x="independent", y="independent")
