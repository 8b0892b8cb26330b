"""The demo, whole: what it says and what it leaves in its home."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Melo, report, write_lines

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_tells_the_whole_story(demo_home: Path, melo_in: Callable[[Path], Melo]) -> None:
    told = json.loads((demo_home.parent / "told.json").read_text())
    melo = melo_in(demo_home)
    status = melo.json("status")
    lines = sum(
        len((ROOT / "examples" / name).read_text(encoding="utf-8").splitlines())
        for name in ("reports.jsonl", "facts.jsonl", "later.jsonl")
    )
    assert status["lines"] == lines == sum(status["counts"].values())
    counts = status["counts"]
    assert counts["active"] >= 25
    assert told["revoked"]["edit"] in {
        e["id"] for e in melo.json("edits", "list", "--state", "revoked")
    }
    for state in ("superseded", "held", "duplicate", "quarantined", "rejected"):
        assert counts[state] >= 1, state
    assert all(v["verdict"] == "passed" for v in told["versions"])
    assert len(told["versions"]) == 4
    assert "What is the capital of France?" in {e["prompt"] for e in told["rejected"]}
    assert told["renewed"]["before"]["answer"] == "€179"
    assert told["renewed"]["after"]["answer"] == "€199"
    assert told["revoked"]["after"]["answer"] == told["revoked"]["base"]["answer"]
    assert told["revoked"]["before"]["answer"] != told["revoked"]["base"]["answer"]


@pytest.mark.slow
def test_every_active_edit_answers_and_near_misses_do_not_move(demo_home: Path) -> None:
    from config import load
    from execution.context import open_ledger
    from execution.lineage import resolve
    from execution.versions import Versions

    settings = load(demo_home)
    with open_ledger(settings) as ledger:
        active = ledger.edits.active()
        editor = Versions(settings).editor(resolve(ledger, "champion"))
    answers = editor.answer([e.prompt for e in active])
    right = sum(a.text == e.target for a, e in zip(answers, active, strict=True))
    assert right == len(active)
    others = [
        "What is the capital of Italy?",
        "How much does Nothing At All cost?",
        "Who is the CEO of Coldharbour Labs?",
    ]
    after, before = editor.answer(others), editor.answer(others, base=True)
    assert [a.text for a in after] == [b.text for b in before]


def test_the_demo_leaves_a_home_alone_that_it_did_not_make(
    tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(tmp_path / "own")
    assert melo("ingest", str(write_lines(tmp_path / "in.jsonl", [report(0)])))[0] == 0
    code, _, err = melo("demo")
    assert code == 2
    assert "no demo made" in err
    assert melo.json("status")["lines"] == 1
