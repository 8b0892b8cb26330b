"""Routing: where do the keys lie, and what does the traffic that is served come to?"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from dashboards import conclusions, filters, parts, session
from dashboards.charts import routing as charts
from dashboards.errors import VersionAway
from dashboards.keymap import KeyMap
from dashboards.queries import Traffic
from dashboards.words import NOTHING, count, duration, share, short

DAYS = {"1": "today", "7": "the last 7 days", "30": "the last 30 days"}
SHOWN = 200


def page() -> None:
    """The whole page."""
    parts.title(
        "Routing", "Which prompts do edits catch, and which edits catch too much or nothing?"
    )
    with parts.guarded():
        names = session.ask("versions")
        if not names:
            parts.empty(
                "There is no version yet", "The keys of a version's edits show here.", "melo run"
            )
            return
        first = next((r["version"] for r in names if r["serves"]), names[0]["version"])
        with st.container(horizontal=True):
            options = {r["version"]: f"v{r['number']} · {short(r['version'])}" for r in names}
            version = filters.choice("Keys of version", options, "version", first, width=260)
            days = filters.choice("Traffic of", DAYS, "days", "7", width=200)
        served = session.served(int(days))
        found: KeyMap | None = None
        try:
            found = session.key_map(version)
        except VersionAway as error:
            parts.away("The map of keys can't be drawn", error)
        _cards(found, served)
        _traffic(served)
        if found is not None:
            _map(found, served)
            _unused(found, served)
            _crowded(found)


def _cards(found: KeyMap | None, served: Traffic | None) -> None:
    totals = served.totals if served else None
    parts.cards(
        [
            ("Answered by edits", share(totals["share"]) if totals else NOTHING,
             f"of {count(totals['answers'], 'request')}" if totals else "no traffic written"),
            ("Answers within", duration(totals["p95"]) if totals else NOTHING,
             f"95%; median {duration(totals['p50'])}" if totals else "no traffic written"),
            ("Edits in the version", f"{len(found.edits):,}" if found else NOTHING,
             "each with a key and a block"),
            ("Never hit", _never(found, served), "of its edits, in these days"),
            ("Crowded", f"{found.crowded:,}" if found else NOTHING, "within another's reach"),
        ]
    )  # fmt: skip


def _never(found: KeyMap | None, served: Traffic | None) -> str:
    if found is None or served is None:
        return NOTHING
    return f"{len(set(found.edits) - set(served.hits['edit'].to_pylist())):,}"


def _traffic(served: Traffic | None) -> None:
    if served is None:
        parts.empty(
            "No traffic in these days",
            "The service writes a line for each answer; how much of it edits answer shows here.",
            "melo serve",
        )
        return
    left, right = st.columns(2)
    with left:
        parts.chart(
            conclusions.of_traffic(served.totals), charts.share(served.by_hour), served.by_hour,
            "traffic",
            units="Requests by hour; blue: answered by an edit",
        )  # fmt: skip
    with right:
        said = conclusions.of_reach(served.reach.to_pylist())
        if served.reach.num_rows:
            parts.chart(
                said, charts.reach(served.reach), served.reach, "reach",
                units="Requests by distance in units of the radius; left of the dashes an edit answers",
            )  # fmt: skip
        else:
            parts.nothing(said + ".")


def _map(found: KeyMap, served: Traffic | None) -> None:
    if not found.edits:
        parts.empty("This version holds no edit", "Its keys would show here.")
        return
    points = _told(found.points, served)
    said = conclusions.of_map(len(found.edits), found.crowded)
    some = (
        ""
        if points.num_rows == len(found.edits)
        else f" {points.num_rows:,} of {len(found.edits):,} shown."
    )
    parts.chart(
        said, charts.key_map(points), points, "keys",
        units="A point an edit; what lies together asks alike. The two main directions hold "
        f"{share(found.explained)} of the keys' variance. Size: radius.{some}",
    )  # fmt: skip


def _told(points: pa.Table, served: Traffic | None) -> pa.Table:
    """The points with their texts, what they answered and what kind of edit that makes them."""
    ids = points["edit"].to_pylist()
    texts = {r["edit"]: r for r in session.ask("texts", edits=ids).to_pylist()}
    hits = {r["edit"]: r["answers"] for r in served.hits.to_pylist()} if served else {}
    crowd = points["crowd"].to_pylist()
    other = "never hit" if served else "an edit"
    kinds = [
        "crowded" if c else "answers traffic" if hits.get(e) else other
        for e, c in zip(ids, crowd, strict=True)
    ]
    for name, values in (
        ("prompt", [texts.get(e, {}).get("prompt") for e in ids]),
        ("target", [texts.get(e, {}).get("target") for e in ids]),
        ("answers", [hits.get(e, 0) for e in ids]),
        ("kind", kinds),
    ):
        points = points.append_column(name, pa.array(values))
    return points


def _unused(found: KeyMap, served: Traffic | None) -> None:
    if served is None:
        return
    hit = set(served.hits["edit"].to_pylist())
    never = [edit for edit in found.edits if edit not in hit]
    left, right = st.columns(2)
    with left:
        top = session.ask("texts", edits=served.hits["edit"].to_pylist()[:SHOWN])
        used = top.join(served.hits, "edit", join_type="inner").sort_by([("answers", "descending")])
        parts.heading(
            f"{count(len(hit), 'edit')} answered something", "hits", {"hits": served.hits}
        )
        parts.table(
            used.select(["answers", "prompt", "target", "nearest", "farthest", "edit"]), "hits"
        )
    with right:
        texts = session.ask("texts", edits=never[:SHOWN])
        said = f"{count(len(never), 'edit')} of this version answered nothing"
        if texts.num_rows:
            parts.heading(said, "never-hit", {"never-hit": texts})
            parts.table(texts, "never-hit")
        else:
            parts.nothing(said + ".")


def _crowded(found: KeyMap) -> None:
    if found.pairs.num_rows == 0:
        parts.nothing("No edit lies within another's reach about the same subject.")
        return
    parts.heading(
        f"{count(found.pairs.num_rows, 'pair')} of edits that crowd each other, the nearest first",
        "crowded", {"crowded": found.pairs},
    )  # fmt: skip
    ids = list(dict.fromkeys(found.pairs["edit"].to_pylist() + found.pairs["other"].to_pylist()))
    prompts = {r["edit"]: r["prompt"] for r in session.ask("texts", edits=ids).to_pylist()}
    shown = found.pairs
    for name in ("edit", "other"):
        texts = [prompts.get(e, e) for e in found.pairs[name].to_pylist()]
        shown = shown.set_column(shown.column_names.index(name), name, pa.array(texts))
    parts.table(
        shown.set_column(2, "distance", pc.round(shown["distance"], 3)), "crowded",
        column_config={
            "radius": st.column_config.NumberColumn(format="%.3f"),
            "other_radius": st.column_config.NumberColumn("other's radius", format="%.3f"),
        },
    )  # fmt: skip


page()
