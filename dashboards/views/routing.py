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
        never = _never_hit(found, served)
        _cards(found, served, never)
        _traffic(served)
        if found is not None:
            texts = session.texts(_shown(found, served, never))
            _map(found, served, texts)
            _unused(served, never, texts)
            _crowded(found, texts)


def _never_hit(found: KeyMap | None, served: Traffic | None) -> list[str]:
    """Edits of the version that answered nothing; none where either is not known."""
    if found is None or served is None:
        return []
    hit = set(served.hits["edit"].to_pylist())
    return [edit for edit in found.edits if edit not in hit]


def _cards(found: KeyMap | None, served: Traffic | None, never: list[str]) -> None:
    totals = served.totals if served else None
    parts.cards(
        [
            ("Answered by edits", share(totals["share"]) if totals else NOTHING,
             f"of {count(totals['answers'], 'request')}" if totals else "no traffic written"),
            ("Answers within", duration(totals["p95"]) if totals else NOTHING,
             f"95%; median {duration(totals['p50'])}" if totals else "no traffic written"),
            ("Edits in the version", f"{len(found.edits):,}" if found else NOTHING,
             "each with a key and a block"),
            ("Never hit", f"{len(never):,}" if found and served else NOTHING,
             "of its edits, in these days"),
            ("Crowded", f"{found.crowded:,}" if found else NOTHING, "within another's reach"),
        ]
    )  # fmt: skip


def _shown(found: KeyMap, served: Traffic | None, never: list[str]) -> list[str]:
    """Every edit whose text stands somewhere on the page."""
    ids = [*found.points["edit"].to_pylist(), *found.pairs["edit"].to_pylist()]
    ids += found.pairs["other"].to_pylist()
    if served:
        ids += served.hits["edit"].slice(0, SHOWN).to_pylist() + never[:SHOWN]
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
        said = conclusions.of_reach(served.reach.to_pylist())
        if served.reach.num_rows:
            parts.chart(
                said,
                charts.reach(served.reach),
                served.reach,
                "reach",
                units="Requests by distance in units of the radius; left of the dashes an edit answers",
            )
        else:
            parts.nothing(said + ".")


def _map(found: KeyMap, served: Traffic | None, texts: pa.Table) -> None:
    if not found.edits:
        parts.empty("This version holds no edit", "Its keys would show here.")
        return
    points = _told(found.points, served, texts)
    said = conclusions.of_map(len(found.edits), found.crowded)
    some = (
        ""
        if points.num_rows == len(found.edits)
        else f" {points.num_rows:,} of {len(found.edits):,} shown."
    )
    parts.chart(
        said,
        charts.key_map(points),
        points,
        "keys",
        units="A point an edit; what lies together asks alike. The two main directions hold "
        f"{share(found.explained)} of the keys' variance. Size: radius.{some}",
    )


def _told(points: pa.Table, served: Traffic | None, texts: pa.Table) -> pa.Table:
    """The points with their texts, what they answered and what kind of edit that makes them."""
    answers = pa.repeat(pa.scalar(0, pa.int64()), points.num_rows)
    if served:
        place = pc.index_in(points["edit"], served.hits["edit"])
        answers = pc.fill_null(served.hits["answers"].take(place), 0)
    kind = pc.if_else(
        pc.greater(answers, 0), "answers traffic", "never hit" if served else "an edit"
    )
    kind = pc.if_else(pc.greater(points["crowd"], 0), "crowded", kind)
    about = _of(texts, points["edit"])
    for name, values in (
        ("prompt", about["prompt"]),
        ("target", about["target"]),
        ("answers", answers),
        ("kind", kind),
    ):
        points = points.append_column(name, values)
    return points


def _of(texts: pa.Table, edits: pa.ChunkedArray) -> pa.Table:
    """The texts of these edits in this order; nulls for those that are not known."""
    return texts.take(pc.index_in(edits, texts["edit"]))


def _unused(served: Traffic | None, never: list[str], texts: pa.Table) -> None:
    if served is None:
        return
    left, right = st.columns(2)
    with left:
        top = served.hits.slice(0, SHOWN)
        about = _of(texts, top["edit"])
        used = top.append_column("prompt", about["prompt"]).append_column("target", about["target"])
        parts.heading(
            f"{count(served.hits.num_rows, 'edit')} answered something",
            "hits",
            {"hits": served.hits},
        )
        parts.table(
            used.select(["answers", "prompt", "target", "nearest", "farthest", "edit"]), "hits"
        )
    with right:
        some = _of(texts, pa.chunked_array([never[:SHOWN]], pa.string()))
        said = f"{count(len(never), 'edit')} of this version answered nothing"
        if some.num_rows:
            parts.heading(said, "never-hit", {"never-hit": some})
            parts.table(some, "never-hit")
        else:
            parts.nothing(said + ".")


def _crowded(found: KeyMap, texts: pa.Table) -> None:
    if found.pairs.num_rows == 0:
        parts.nothing("No edit lies within another's reach about the same subject.")
        return
    parts.heading(
        f"{count(found.pairs.num_rows, 'pair')} of edits that crowd each other, the nearest first",
        "crowded",
        {"crowded": found.pairs},
    )
    shown = found.pairs
    for name in ("edit", "other"):
        prompts = pc.coalesce(_of(texts, found.pairs[name])["prompt"], found.pairs[name])
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
