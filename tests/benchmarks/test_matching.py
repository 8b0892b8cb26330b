"""What is lost by leaving out a rule on strings is counted by what falls to an edit without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.matching import ALL, bench
from melo_engine import Backbone, Calibration, Editor, EditSettings
from melo_engine.matching.matcher import RULES
from tests.benchmarks.conftest import SUBJECTS, question, write_lines


def _editor_without_learning(backbone: Backbone, cache: Path) -> Editor:
    """A random model has no relations to tell apart."""
    settings = EditSettings()
    return Editor(
        backbone, settings=settings, calibration=Calibration.raw(settings.false_activations)
    )


def test_a_rule_that_is_left_out_loses_what_it_finds(
    t5_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.matching.product_editor", _editor_without_learning)
    rows = [question(i) for i in range(6)]
    misspelt = [
        row["prompt"].replace(s, s[:4] + s[5:]) for row, s in zip(rows, SUBJECTS, strict=False)
    ]
    data = write_lines(
        tmp_path / "rows.jsonl",
        [row | {"rephrases": [text]} for row, text in zip(rows, misspelt, strict=True)],
    )
    figures = bench(data, str(t5_folder), tmp_path, limit=4, traffic=["wine and bread"])
    without = figures["without"]
    assert set(without) == {ALL, *RULES}
    assert without[ALL]["found"] == without["order"]["found"] == 1.0
    assert without["typos"]["found"] == 0.0
    assert without[ALL]["traffic"] == without[ALL]["locality"] == 0.0
    assert figures["edits"] == figures["probes"]["rephrase"] == 4
