"""The synthetic ledger: consistent, and always the same for the same seed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.synthetic_ledger import write_synthetic_ledger
from ledger import Ledger

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_it_passes_the_ledgers_own_audit(tmp_path: Path) -> None:
    ledger = write_synthetic_ledger(
        tmp_path / "l.duckdb", edits=900, versions=30, probes=55, now=NOW, seed=3
    )
    assert ledger.audit() == []
    counts = ledger.counts()
    assert counts.versions == 30
    assert sum(counts.counts.values()) == counts.lines


def test_it_is_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    def content(seed: int, name: str) -> list[tuple[object, ...]]:
        ledger: Ledger = write_synthetic_ledger(
            tmp_path / name, edits=300, versions=10, probes=22, now=NOW, seed=seed
        )
        with ledger.store.read() as con:
            found: list[tuple[object, ...]] = []
            for table in ("edits", "edit_states", "transitions", "suite_verdicts", "probe_results"):
                found += con.execute(
                    f"SELECT '{table}', t.* FROM {table} t ORDER BY ALL"
                ).fetchall()
        return found

    assert content(1, "a") == content(1, "b")
    assert content(1, "c") != content(2, "d")


def test_it_takes_no_other_ledgers_place(tmp_path: Path) -> None:
    (tmp_path / "l.duckdb").write_bytes(b"")
    with pytest.raises(FileExistsError):
        write_synthetic_ledger(tmp_path / "l.duckdb", edits=10, versions=2, probes=1, now=NOW)
