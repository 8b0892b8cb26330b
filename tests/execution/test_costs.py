"""What a stage costs is on record, and so is the size of a version."""

from __future__ import annotations

import pytest

from config import Settings
from dashboards.queries import Records
from execution.context import Context, open_ledger
from execution.costs import measured, note_size, size_of
from execution.versions import Versions
from tests.conftest import report
from tests.pipeline import promoted, take


def test_seconds_and_memory_are_kept_even_where_the_stage_fails(home: Settings) -> None:
    with open_ledger(home) as ledger:
        with measured(ledger, "train", job="a-job"):
            held = bytearray(64 * 2**20)
        with pytest.raises(ValueError, match="broken"), measured(ledger, "gate", job="a-job"):
            raise ValueError("broken")
        with ledger.store.read() as con:
            found = con.execute(
                "SELECT stage, job_id, seconds, memory_bytes, device FROM stage_costs ORDER BY rowid"
            ).fetchall()
    assert [(row[0], row[1]) for row in found] == [("train", "a-job"), ("gate", "a-job")]
    assert all(row[2] > 0 for row in found)
    assert found[0][3] > len(held)


def test_a_versions_size_is_that_of_its_blocks_and_files(home: Settings) -> None:
    with open_ledger(home) as ledger:
        take(home, ledger, report(0), report(1))
        first = promoted(home, ledger)
        take(home, ledger, report(2))
        second = promoted(home, ledger)
        note_size(Context(home, ledger), second)
        size = size_of(home, second, first)
        info = ledger.versions.get(second).info
    version = Versions(home).open(second)
    blocks = sum(version.place(edit)[0].parameters_per_block for edit in version.edits)
    assert size["parameters"] == blocks == info["parameters"]
    files = list(home.paths.version(second).iterdir())
    files += [p for name in version.shards for p in (home.paths.shards / name).iterdir()]
    assert size["bytes"] == sum(p.stat().st_size for p in files)
    assert 0 < size["new_bytes"] < size["bytes"]
    sizes = Records(home).costs().sizes.to_pylist()
    assert sizes[-1]["bytes"] == size["bytes"]
