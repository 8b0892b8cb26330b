"""Exports of other tools, made up for the benchmark, are taken in whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.shape_rows import SHAPES, write_rows
from tasks.ingest.shapes import recognised
from tests.tasks.shapes.shape_support import take


@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_of_a_made_up_export_is_told_and_taken(tmp_path: Path, shape: str) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    assert write_rows(folder, shape, 6) == (3 if SHAPES[shape][1] else 6)
    made = SHAPES[shape][0](0)
    found = recognised(made)
    assert found is not None
    assert found.name == shape
    ledger, outcome = take(tmp_path / "home", folder)
    assert outcome.total("lines") == 6
    edits = ledger.edits.find()
    assert [edit.target for edit in edits] == [f"Volvo {n}" for n in range(len(edits))]
    assert len(edits) == outcome.total("accepted")
