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
        key_map: KeyMap | None = None
        try:
            key_map = session.key_map(version)
        except VersionAway as error:
            parts.away("The map of keys can't be drawn", error)
        never_hit = _never_hit(key_map, served)
        _cards(key_map, served, never_hit)
        _traffic(served)
        if key_map is not None:
            texts = session.texts(_edits_shown(key_map, served, never_hit))
            _map(key_map, served, texts)
            _unused(served, never_hit, texts)
            _crowded(key_map, texts)


def _never_hit(key_map: KeyMap | None, served: Traffic | None) -> list[str]:
    """Edits of the version that answered nothing; empty where the map or the traffic is missing."""
    if key_map is None or served is None:
        return []
    hit = set(served.hits["edit"].to_pylist())
    return [edit for edit in key_map.edits if edit not in hit]


def _cards(key_map: KeyMap | None, served: Traffic | None, never_hit: list[str]) -> None:
    totals = served.totals if served else None
    parts.cards(
        [
            (
                "Answered by edits",
                share(totals["share"]) if totals else NOTHING,
                f"of {count(totals['answers'], 'request')}" if totals else "no traffic written",
            ),
            (
                "Answers within",
                duration(totals["p95"]) if totals else NOTHING,
                f"95%; median {duration(totals['p50'])}" if totals else "no traffic written",
            ),
            (
                "Edits in the version",
                f"{len(key_map.edits):,}" if key_map else NOTHING,
                "each with a key and a block",
            ),
            (
                "Never hit",
                f"{len(never_hit):,}" if key_map and served else NOTHING,
                "of its edits, in these days",
            ),
            ("Crowded", f"{key_map.crowded:,}" if key_map else NOTHING, "within another's reach"),
        ]
    )


def _edits_shown(key_map: KeyMap, served: Traffic | None, never_hit: list[str]) -> list[str]:
    """Every edit whose text is shown somewhere on the page."""
    ids = [*key_map.points["edit"].to_pylist(), *key_map.pairs["edit"].to_pylist()]
    ids += key_map.pairs["other"].to_pylist()
    if served:
        ids += served.hits["edit"].slice(0, SHOWN).to_pylist() + never_hit[:SHOWN]
    return list(dict.fromkeys(ids))


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
            conclusions.of_traffic(served.totals),
            charts.share(served.by_hour),
            served.by_hour,
            "traffic",
            units="Requests by hour; blue: answered by an edit",
        )
    with right:
        summary = conclusions.of_reach(served.reach.to_pylist())
        if served.reach.num_rows:
            parts.chart(
                summary,
                charts.reach(served.reach),
                served.reach,
                "reach",
                units="Requests by distance in units of the radius; left of the dashes an edit answers",
            )
        else:
            parts.nothing(summary + ".")


def _map(key_map: KeyMap, served: Traffic | None, texts: pa.Table) -> None:
    if not key_map.edits:
        parts.empty("This version holds no edit", "Its keys would show here.")
        return
    points = _annotated(key_map.points, served, texts)
    summary = conclusions.of_map(len(key_map.edits), key_map.crowded)
    sampled = (
        ""
        if points.num_rows == len(key_map.edits)
        else f" {points.num_rows:,} of {len(key_map.edits):,} shown."
    )
    parts.chart(
        summary,
        charts.key_map(points),
        points,
        "keys",
        units="A point an edit; what lies together asks alike. The two main directions hold "
        f"{share(key_map.explained)} of the keys' variance. Size: radius.{sampled}",
    )


def _annotated(points: pa.Table, served: Traffic | None, texts: pa.Table) -> pa.Table:
    """The points with prompt, target, number of answers and kind."""
    answers = pa.repeat(pa.scalar(0, pa.int64()), points.num_rows)
    if served:
        place = pc.index_in(points["edit"], served.hits["edit"])
        answers = pc.fill_null(served.hits["answers"].take(place), 0)
    kind = pc.if_else(
        pc.greater(answers, 0), "answers traffic", "never hit" if served else "an edit"
    )
    kind = pc.if_else(pc.greater(points["crowd"], 0), "crowded", kind)
    about = _texts_of(texts, points["edit"])
    for name, values in (
        ("prompt", about["prompt"]),
        ("target", about["target"]),
        ("answers", answers),
        ("kind", kind),
    ):
        points = points.append_column(name, values)
    return points


def _texts_of(texts: pa.Table, edits: pa.ChunkedArray) -> pa.Table:
    """The texts of these edits in this order; null where an edit has none."""
    return texts.take(pc.index_in(edits, texts["edit"]))


def _unused(served: Traffic | None, never_hit: list[str], texts: pa.Table) -> None:
    if served is None:
        return
    left, right = st.columns(2)
    with left:
        top = served.hits.slice(0, SHOWN)
        about = _texts_of(texts, top["edit"])
        used = top.append_column("prompt", about["prompt"]).append_column("target", about["target"])
        parts.heading(
            f"{count(served.hits.num_rows, 'edit')} answered something",
            "hits",
            served.hits,
        )
        parts.table(
            used.select(["answers", "prompt", "target", "nearest", "farthest", "edit"]), "hits"
        )
    with right:
        examples = _texts_of(texts, pa.chunked_array([never_hit[:SHOWN]], pa.string()))
        summary = f"{count(len(never_hit), 'edit')} of this version answered nothing"
        if examples.num_rows:
            parts.heading(summary, "never-hit", examples)
            parts.table(examples, "never-hit")
        else:
            parts.nothing(summary + ".")


def _crowded(key_map: KeyMap, texts: pa.Table) -> None:
    if key_map.pairs.num_rows == 0:
        parts.nothing("No edit lies within another's reach about the same subject.")
        return
    parts.heading(
        f"{count(key_map.pairs.num_rows, 'pair')} of edits that crowd each other, the nearest first",
        "crowded",
        key_map.pairs,
    )
    shown = key_map.pairs
    for name in ("edit", "other"):
        prompts = pc.coalesce(_texts_of(texts, key_map.pairs[name])["prompt"], key_map.pairs[name])
        shown = shown.set_column(shown.column_names.index(name), name, prompts)
    parts.table(
        shown.set_column(2, "distance", pc.round(shown["distance"], 3)),
        "crowded",
        column_config={
            "radius": st.column_config.NumberColumn(format="%.3f"),
            "other_radius": st.column_config.NumberColumn("other's radius", format="%.3f"),
        },
    )


page()
