"""The parts below the pages: charts as files, sentences, the map of keys, the process that answers."""

from __future__ import annotations

import csv
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from config import Settings
from dashboards import conclusions, keymap
from dashboards.asking import Answerer
from dashboards.charts import cost, edit, overview, queue, routing, version
from dashboards.charts.base import csv_of, png
from dashboards.difference import marked
from dashboards.errors import NoAnswer, VersionAway
from dashboards.queries import Records
from dashboards.report import together
from dashboards.words import duration, share
from tests.conftest import PEOPLE

NOW = datetime.now(UTC)


def drawings(settings: Settings) -> dict[str, tuple[Any, pa.Table]]:
    """Every chart of the pages with its rows."""
    records = Records(settings)
    seen, waits, costs = records.overview(NOW), records.queue(NOW), records.costs()
    assert seen.champion is not None
    champion = seen.champion["version"]
    verdict = records.version(champion).verdict
    served = records.traffic(NOW, 8)
    assert served is not None
    points = records.key_map(champion).points
    count = len(points)
    for name, value in (("kind", "never hit"), ("prompt", "p"), ("target", "t"), ("answers", 0)):
        points = points.append_column(name, pa.array([value] * count))
    probes = next(
        found for e in points["edit"].to_pylist() if (found := records.edit(e).distances).num_rows
    )
    sized = costs.sizes
    return {
        "suites": (together(seen), seen.suites),
        "releases": (overview.releases(seen.releases), seen.releases),
        "live": (overview.live_times(seen.live_times), seen.live_times),
        "backlog": (overview.backlog(seen.backlog), seen.backlog),
        "reasons": (queue.reasons(waits.reasons), waits.reasons),
        "sources": (queue.acceptance(waits.sources), waits.sources),
        "margins": (version.margins(verdict), verdict),
        "distances": (edit.distances(probes, 0.5, "none"), probes),
        "keys": (routing.key_map(points), points),
        "traffic": (routing.share(served.by_hour), served.by_hour),
        "reach": (routing.reach(served.reach), served.reach),
        "seconds": (cost.seconds(costs.stages), costs.stages),
        "memory": (cost.memory(costs.stages), costs.stages),
        "rate": (cost.rate(sized), sized),
        "bytes": (cost.sizes(sized), sized),
        "gate": (cost.gate(sized), sized),
    }


def test_every_chart_can_be_had_as_png_and_csv(synthetic: Settings) -> None:
    for name, (chart, rows) in drawings(synthetic).items():
        assert isinstance(chart, alt.TopLevelMixin)
        picture = png(
            chart, f"What {name} says, in a sentence that is long enough to be broken " * 2
        )
        assert picture.startswith(b"\x89PNG"), name
        assert len(picture) > 5_000, name
        read = list(csv.DictReader(io.StringIO(csv_of(rows).decode())))
        assert len(read) == rows.num_rows, name
        assert list(read[0]) == rows.column_names, name


def row(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {
        "suite": "s",
        "metric": "share",
        "value": value,
        "low": low,
        "high": high,
        "passed": True,
        **more,
    }


def test_a_share_has_moved_only_where_the_intervals_do_not_touch() -> None:
    calm = [row(0.90, 0.85, 0.94), row(0.93, 0.88, 0.96)]
    assert conclusions.direction(calm) == "held"
    assert conclusions.direction([row(0.90, 0.85, 0.94), row(0.98, 0.95, 0.99)]) == "better"
    fell = [row(0.98, 0.95, 0.99), row(0.90, 0.85, 0.94)]
    assert conclusions.direction(fell) == "worse"
    assert conclusions.of_suites({"s": fell}) == "Quality moves: s got worse"
    assert conclusions.of_suites({"s": calm}).startswith("Quality holds: all 1 suites")
    broken = [*calm, row(0.5, 0.4, 0.6, passed=False)]
    assert conclusions.of_suites({"s": broken}) == "The latest version fails s"
    assert "below what is asked" in conclusions.of_suite(broken)


def test_only_all_is_called_100_percent() -> None:
    assert share(1.0) == "100%"
    assert share(0.99999) == "99.9%"
    assert share(0.00001) == "0.1%"
    assert [duration(s) for s in (0.02, 8, 95, 7200, 8.64e5)] == [
        "20 ms",
        "8 s",
        "1.6 min",
        "2.0 h",
        "10 days",
    ]


def test_changed_words_are_marked_and_nothing_else_is_markup() -> None:
    before, after = marked("the *old* answer", "the new answer")
    assert before == r"the :orange-background[~~\*old\*~~] answer"
    assert after == "the :blue-background[**new**] answer"
    assert marked(None, "x")[0] == "*nothing*"


def test_the_map_is_of_the_versions_own_keys_and_radii(lived: Settings) -> None:
    from execution.context import open_ledger
    from execution.versions import Versions

    with open_ledger(lived) as ledger:
        champion = ledger.champions.current()
    assert champion is not None
    found = Records(lived).key_map(champion.version)
    real = Versions(lived).open(champion.version)
    assert set(found.edits) == set(real.edits) == set(found.points["edit"].to_pylist())
    for point in found.points.to_pylist():
        own = real.edits[point["edit"]]
        assert point["radius"] == own.radius
        assert keymap.read_radius(lived.paths.versions, real.id, own.id) == own.radius
    size = real.projection.relation_size
    keys = {e: real.place(e)[0].keys[real.place(e)[1]][:size] for e in real.edits}
    near = {
        frozenset((a, b))
        for a in keys
        for b in keys
        if a != b
        and real.edits[a].request.subject == real.edits[b].request.subject
        and np.linalg.norm(keys[a] - keys[b]) <= max(real.edits[a].radius, real.edits[b].radius)
    }
    pairs = found.pairs.select(["edit", "other"]).to_pylist()
    assert {frozenset(p.values()) for p in pairs} == near


def test_keys_that_crowd_each_other_are_those_of_one_subject_within_reach() -> None:
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(60, 8))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    radius = rng.uniform(0.2, 1.2, 60)
    subjects = [["Acme", "acme", "Borealis", None][n % 4] for n in range(60)]
    bound = np.array([s is not None for s in subjects])
    pairs, crowd = keymap._crowding(keys, keys, radius, subjects, bound)
    folded = [s.casefold() if s else None for s in subjects]
    wanted = {
        (a, b)
        for a in range(60)
        for b in range(a + 1, 60)
        if folded[a] == folded[b] and np.linalg.norm(keys[a] - keys[b]) <= max(radius[a], radius[b])
    }
    assert {(a, b) for _, a, b in pairs} == wanted
    assert crowd.sum() == 2 * len(wanted)


def test_a_version_without_its_files_is_said_to_be_away(synthetic: Settings) -> None:
    other = Records(synthetic).versions()[-1]["version"]
    with pytest.raises(VersionAway, match="not on this machine"):
        Records(synthetic).key_map(other)


def test_the_map_of_the_synthetic_home_shows_every_edit_in_use(synthetic: Settings) -> None:
    champion = next(v for v in Records(synthetic).versions() if v["serves"])
    found = Records(synthetic).key_map(champion["version"])
    assert len(found.edits) == Records(synthetic).overview(NOW).headline["active"]
    assert 0 < found.explained <= 1
    assert pc.sum(pc.greater(found.points["crowd"], 0)).as_py() == found.crowded


def test_backbone_champion_and_another_version_answer_side_by_side(lived: Settings) -> None:
    asker = Answerer([sys.executable, "-m", "cli.dashboard.answering", str(lived.home)])
    try:
        first = next(v["version"] for v in Records(lived).versions() if v["number"] == 1)
        asked = ["base", "champion", first, "no-such-version"]
        base, champion, old, unknown = asker.ask("who leads quinomire ?", asked)
        assert champion["answer"] == PEOPLE[2]
        assert champion["edit"]
        assert champion["distance"] <= champion["radius"]
        assert base["edit"] is None
        assert old["version"] == first
        assert "no-such-version" in unknown["error"]
        before = asker.process._process
        assert before is not None
        before.kill()
        before.wait()
        assert asker.ask("who leads quinomire ?", ["champion"])[0]["answer"] == PEOPLE[2]
    finally:
        asker.process.close()


def test_a_process_that_says_nothing_or_nonsense_is_no_answer(tmp_path: Path) -> None:
    for code in ("pass", "input(); print('hello', flush=True); input()"):
        asker = Answerer([sys.executable, "-c", code])
        with pytest.raises(NoAnswer):
            asker.ask("x", ["base"])
        asker.process.close()
    with pytest.raises(NoAnswer, match="melo dashboard"):
        Answerer([]).ask("x", ["base"])
