"""`melo bench product`: the documented commands, and every line in its account."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.product import bench
from benchmarks.tiny import THRESHOLDS, make_backbone, subjects, write_lines


@pytest.mark.slow
def test_lines_become_answers_by_the_documented_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = subjects(12)
    rows = [
        {
            "prompt": f"who leads {name} ?",
            "target": "ada" if i % 2 else "jon",
            "subject": name,
            "rephrases": [f"tell me who leads {name}"],
        }
        for i, name in enumerate(names)
    ]
    rows.insert(1, {**rows[0], "target": "mia"})  # one source says two things: the later one holds
    data = write_lines(tmp_path / "edits.jsonl", rows)  # type: ignore[arg-type]
    traffic = write_lines(tmp_path / "traffic.jsonl", [{"prompt": "what is the capital ?"}])
    thresholds = tmp_path / "thresholds.yaml"
    thresholds.write_text(THRESHOLDS, encoding="utf-8")
    monkeypatch.setenv("MELO_GATE__THRESHOLDS", str(thresholds))
    backbone = make_backbone(tmp_path / "backbone", names)

    record = bench(data, str(backbone), limit=5, traffic=traffic)

    told = record["product"]
    assert (told["lines"], told["judged"], told["active"], told["superseded"]) == (5, 4, 4, 1)
    assert told["edit_success"] == 1.0
    assert told["traffic"] == 1.0
    assert told["prompts"]["edit_success"] == told["prompts"]["behind_text"] == 4
    assert told["prompts"]["near_miss_subject"] > 0
    assert set(told["seconds"]) == {"ingest", "run"}
    assert str(tmp_path) not in json.dumps(record)
