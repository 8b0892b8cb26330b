"""What a page says equals what the ledger says: each headline figure, computed again from raw rows."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from config import Settings
from dashboards.queries import Records
from dashboards.words import duration
from ledger.insight import traffic
from ledger.store import Connection
from tasks.gate.measures.statistics import wilson
from tests.dashboards.conftest import Opened, address, figures

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
WAITING = {"received", "held", "ready", "planned", "trained"}


def rows(con: Connection, table: str) -> list[dict[str, Any]]:
    """Every row of a table, as it lies there."""
    result = con.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def first_uses(con: Connection) -> dict[str, datetime]:
    """When each edit came into use first."""
    found: dict[str, datetime] = {}
    for t in rows(con, "transitions"):
        if t["to_state"] == "active":
            found[t["edit_id"]] = min(t["happened_at"], found.get(t["edit_id"], t["happened_at"]))
    return found


def latest_verdicts(con: Connection) -> dict[str, bool]:
    """What each version's last gate said."""
    found: dict[str, tuple[datetime, bool]] = {}
    for v in rows(con, "verdicts"):
        if v["version_id"] not in found or v["happened_at"] >= found[v["version_id"]][0]:
            found[v["version_id"]] = (v["happened_at"], v["passed"])
    return {version: passed for version, (_, passed) in found.items()}


def test_the_headline_is_what_the_raw_tables_say(synthetic: Settings, raw: Connection) -> None:
    head = Records(synthetic).overview(NOW).headline
    states = rows(raw, "edit_states")
    assert head["active"] == sum(s["state"] == "active" for s in states) > 0
    waiting = [s for s in states if s["state"] in WAITING]
    assert head["waiting"] == len(waiting) > 0
    assert head["oldest"] == min(s["since"] for s in waiting)
    received = {e["edit_id"]: e["received_at"] for e in rows(raw, "edits")}
    since = NOW - timedelta(days=30)
    seconds = [
        (at - received[edit]).total_seconds()
        for edit, at in first_uses(raw).items()
        if since < at <= NOW
    ]
    assert head["live_edits"] == len(seconds) > 10
    assert head["live_p50"] == pytest.approx(statistics.median(seconds))
    assert head["live_p95"] == pytest.approx(float(np.quantile(seconds, 0.95)))
    recent = {v["version_id"] for v in rows(raw, "verdicts") if since < v["happened_at"] <= NOW}
    passed = [ok for version, ok in latest_verdicts(raw).items() if version in recent]
    assert (head["gates_passed"], head["gates_failed"]) == (sum(passed), len(passed) - sum(passed))
    assert head["reports"] == len(rows(raw, "reports"))


def test_the_overview_page_shows_these_figures(synthetic: Settings, opened: Opened) -> None:
    data = Records(synthetic).overview(NOW)
    cards = figures(opened(synthetic.home))
    head = data.headline
    assert data.champion is not None
    assert cards == {
        "Champion": f"v{data.champion['number']}",
        "Edits in use": f"{head['active']:,}",
        "Waiting": f"{head['waiting']:,}",
        "Report to live": duration(head["live_p50"]),
        "Past the gate": f"{head['gates_passed']} of {head['gates_passed'] + head['gates_failed']}",
    }


def test_the_champion_is_the_last_that_was_set(synthetic: Settings, raw: Connection) -> None:
    last = max(rows(raw, "champions"), key=lambda c: c["seq"])
    champion = Records(synthetic).overview(NOW).champion
    assert champion is not None
    assert champion["version"] == last["version"]
    order = sorted(rows(raw, "versions"), key=lambda v: v["created_at"])
    assert champion["number"] == 1 + [v["version_id"] for v in order].index(last["version"])


def test_bands_are_wilsons_interval_of_the_share(synthetic: Settings) -> None:
    shown = Records(synthetic).overview(NOW, None).suites.to_pylist()
    shares = [r for r in shown if r["metric"] == "share"]
    assert len(shares) == 11 * 30
    for row in shares:
        passed = round(row["value"] * row["probes"], 6)
        low, high = wilson(passed, row["probes"], 0.95)  # type: ignore[arg-type]
        assert row["low"] == pytest.approx(low, abs=1e-5)
        assert row["high"] == pytest.approx(high, abs=1e-5)


def test_rejected_versions_and_rollbacks_are_marked(synthetic: Settings, raw: Connection) -> None:
    shown = {r["version"]: r for r in Records(synthetic).overview(NOW, None).releases.to_pylist()}
    history = sorted(rows(raw, "champions"), key=lambda c: c["seq"])
    times = Counter(c["version"] for c in history)
    for version, passed in latest_verdicts(raw).items():
        row = shown[version]
        assert row["gate"] == passed
        assert row["rollback"] == max(0, times[version] - 1)
        fate = "served" if times[version] else "never served" if passed else "rejected"
        assert row["fate"] == ("serves" if version == history[-1]["version"] else fate)
    assert any(r["fate"] == "rejected" for r in shown.values())


def test_weeks_and_backlog_add_up(synthetic: Settings, raw: Connection) -> None:
    data = Records(synthetic).overview(NOW)
    weeks: dict[Any, list[float]] = defaultdict(list)
    received = {e["edit_id"]: e["received_at"] for e in rows(raw, "edits")}
    for edit, at in first_uses(raw).items():
        weeks[at.date() - timedelta(days=at.weekday())].append(
            (at - received[edit]).total_seconds()
        )
    shown = data.live_times.to_pylist()
    assert [r["week"] for r in shown] == sorted(weeks)
    for row in shown:
        assert row["p50"] == pytest.approx(statistics.median(weeks[row["week"]]))
        assert row["edits"] == len(weeks[row["week"]])
    ages = Counter()
    for s in rows(raw, "edit_states"):
        if s["state"] in WAITING:
            old = (NOW - s["since"]).total_seconds()
            ages[sum(old >= bound for bound in (3600, 86400, 7 * 86400, 30 * 86400))] += 1
    found = Counter()
    for row in data.backlog.to_pylist():
        found[row["place"]] += row["edits"]
    assert found == ages


def test_alerts_are_those_of_the_last_day(synthetic: Settings, raw: Connection) -> None:
    shown = Records(synthetic).overview(NOW).alerts
    day = NOW - timedelta(hours=24)
    events = [
        e for e in rows(raw, "events") if e["severity"] != "info" and day < e["happened_at"] <= NOW
    ]
    failed = [v for v in rows(raw, "verdicts") if not v["passed"] and day < v["happened_at"] <= NOW]
    messages = Counter(a["message"] for a in shown)
    assert messages >= Counter(e["message"] for e in events)
    assert len(shown) >= len(events) + len(failed) > 0


def test_the_queue_counts_what_waits_and_what_sources_are_worth(
    synthetic: Settings, raw: Connection, opened: Opened
) -> None:
    data = Records(synthetic).queue(NOW)
    states = {s["edit_id"]: s for s in rows(raw, "edit_states")}
    waiting = [s for s in states.values() if s["state"] in WAITING]
    assert sum(data.reasons["edits"].to_pylist()) == len(waiting)
    held = Counter(s["hold"] for s in waiting if s["state"] == "held")
    assert {r["why"]: r["edits"] for r in data.reasons.to_pylist() if r["state"] == "held"} == held
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    for edit in rows(raw, "edits"):
        fates[edit["source"]][states[edit["edit_id"]]["state"]] += 1
    lines = Counter(r["source"] for r in rows(raw, "reports"))
    assert len(data.sources) == len(lines)
    for row in data.sources.to_pylist():
        own = fates[row["source"]]
        assert row["lines"] == lines[row["source"]]
        assert row["acceptance"] == pytest.approx(own["active"] / (own["active"] + own["rejected"]))
        assert sum(row["weeks"]) <= row["lines"]
    contests = rows(raw, "contests")
    assert data.open_contradictions == sum(not c["settled"] for c in contests) > 0
    cards = figures(opened(synthetic.home, "queue"))
    assert cards["Waiting"] == f"{len(waiting):,}"
    assert cards["Contradictions open"] == str(data.open_contradictions)
    quarantined = sum(r["outcome"] == "quarantined" for r in rows(raw, "reports"))
    assert cards["Lines in quarantine"] == str(quarantined)


def test_both_sides_of_a_contradiction_are_shown(synthetic: Settings) -> None:
    found = Records(synthetic).contradictions(False, 500, 0)
    assert found
    undecided = [c for c in found if not c["decided"]]
    assert undecided
    for contest in found:
        assert contest["loser_prompt"]
        assert contest["winner_prompt"], contest
        assert contest["winner"] != contest["loser"]


def test_a_version_shows_its_own_verdict_beside_its_parents(
    synthetic: Settings, raw: Connection, opened: Opened
) -> None:
    records = Records(synthetic)
    failed = next(v for v, ok in latest_verdicts(raw).items() if not ok)
    data = records.version(failed)
    verdicts = {(s["version_id"], s["suite"], s["metric"]): s for s in rows(raw, "suite_verdicts")}
    parent = data.facts["parent"]
    assert data.verdict.num_rows == 12
    for row in data.verdict.to_pylist():
        own = verdicts[failed, row["suite"], row["metric"]]
        assert (row["value"], row["passed"]) == (own["value"], own["passed"])
        assert row["before"] == verdicts[parent, row["suite"], row["metric"]]["value"]
    probes = [p for p in rows(raw, "probe_results") if p["version_id"] == failed]
    bad = [p for p in probes if not p["passed"]]
    assert data.counts["asked"] == len(probes)
    assert data.counts["failed"] == len(bad) == data.probes.num_rows
    assert Counter(data.probes["prompt"].to_pylist()) == Counter(p["prompt"] for p in bad)
    [version] = [v for v in rows(raw, "versions") if v["version_id"] == failed]
    ways = Counter(r["way"] == "added" for r in data.changes.to_pylist())
    assert ways[True] == len(version["edits_added"])
    assert ways[False] == len(version["edits_removed"])
    app = opened(synthetic.home, "version", version=failed[:12])
    cards = figures(app)
    assert cards["Gate"] == "failed"
    assert cards["Probes asked"] == str(len(probes))
    assert address(app, "version") == failed


def test_search_finds_what_a_plain_reading_finds(synthetic: Settings, raw: Connection) -> None:
    text = "osto"
    found = Records(synthetic).search(text)["edit"].to_pylist()
    wanted = [
        e["edit_id"]
        for e in sorted(rows(raw, "edits"), key=lambda e: -e["seq"])
        if any(text in (e[name] or "").lower() for name in ("prompt", "target", "subject"))
    ]
    assert found == wanted[:100]
    assert found


def test_an_edits_life_is_every_step_on_record(synthetic: Settings, raw: Connection) -> None:
    superseded = next(s for s in rows(raw, "edit_states") if s["state"] == "superseded")
    edit = superseded["edit_id"]
    shown = Records(synthetic).edit(edit).timeline.to_pylist()
    steps = [t["to_state"] for t in rows(raw, "transitions") if t["edit_id"] == edit]
    assert [s["what"] for s in shown if s["kind"] == "state"] == steps
    reports = [r for r in rows(raw, "reports") if r["edit_id"] == edit]
    assert sum(s["kind"] == "report" for s in shown) == len(reports)
    assert [s["happened_at"] for s in shown] == sorted(s["happened_at"] for s in shown)


def test_an_edits_distances_are_those_of_its_own_probes(
    synthetic: Settings, raw: Connection
) -> None:
    probe = next(p for p in rows(raw, "probe_results") if p["probe_id"].startswith("rephrase:"))
    edit = probe["probe_id"].split(":")[1]
    shown = Records(synthetic).edit(edit).distances
    last = max(
        p["happened_at"]
        for p in rows(raw, "probe_results")
        if edit in (p["edit_id"], p["probe_id"].split(":")[1])
    )
    own = {
        (p["prompt"], p["distance"])
        for p in rows(raw, "probe_results")
        if edit in (p["edit_id"], p["probe_id"].split(":")[1]) and p["happened_at"] == last
    }
    assert {(r["prompt"], r["distance"]) for r in shown.to_pylist()} == own


def test_traffic_is_what_its_lines_say(synthetic: Settings, opened: Opened) -> None:
    lines = [
        json.loads(line)
        for path in synthetic.paths.traffic.glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    data = Records(synthetic).traffic(NOW + timedelta(minutes=1), 9)
    assert data is not None
    hits = Counter(line["edit"] for line in lines if line["edit"])
    assert data.totals["answers"] == len(lines) == 900
    assert data.totals["share"] == pytest.approx(hits.total() / len(lines))
    assert {r["edit"]: r["answers"] for r in data.hits.to_pylist()} == hits
    assert sum(data.by_hour["edited"].to_pylist()) == hits.total()
    compared = [line for line in lines if line["distance"] is not None]
    assert sum(data.reach["answers"].to_pylist()) == len(compared)
    cards = figures(opened(synthetic.home, "routing", days="30"))
    assert cards["Answered by edits"] == f"{100 * hits.total() / len(lines):.1f}%"


def test_a_traffic_line_that_is_cut_short_is_passed_over(tmp_path: Any) -> None:
    whole = {
        "time": "2026-11-23T05:00:00+00:00",
        "version": "v",
        "edit": None,
        "block": None,
        "distance": None,
        "radius": None,
        "seconds": 0.1,
    }
    path = tmp_path / "2026-11-23.jsonl"
    path.write_text(json.dumps(whole) + "\nnot json\n" + json.dumps(whole)[:40])
    with traffic.opened([path]) as con:
        assert traffic.totals(con)["answers"] == 1


def test_costs_are_the_sums_of_the_stages(
    synthetic: Settings, raw: Connection, opened: Opened
) -> None:
    data = Records(synthetic).costs(None)
    costs = rows(raw, "stage_costs")
    assert data.totals["seconds"] == pytest.approx(math.fsum(c["seconds"] for c in costs))
    assert sum(data.stages["seconds"].to_pylist()) == pytest.approx(data.totals["seconds"])
    train = [c for c in costs if c["stage"] == "train"]
    rate = sum(c["edits"] for c in train) / math.fsum(c["seconds"] for c in train)
    assert data.totals["rate"] == pytest.approx(rate)
    cards = figures(opened(synthetic.home, "cost"))
    assert cards["Edits a second"] == f"{rate:.3g}"
    assert cards["Time measured"] == duration(data.totals["seconds"])
