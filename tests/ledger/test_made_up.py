"""The made-up ledger: consistent, and always the same for the same seed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import Ledger
from ledger.made_up import make_up

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_it_passes_the_ledgers_own_audit(tmp_path: Path) -> None:
    ledger = make_up(tmp_path / "l.duckdb", edits=900, versions=30, probes=55, now=NOW, seed=3)
    assert ledger.audit() == []
    counts = ledger.counts()
    assert counts.versions == 30
    assert sum(counts.counts.values()) == counts.lines


def test_it_is_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    def content(seed: int, name: str) -> list[tuple[object, ...]]:
        ledger: Ledger = make_up(
            tmp_path / name, edits=300, versions=10, probes=22, now=NOW, seed=seed
        )
        with ledger.read() as con:
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
        make_up(tmp_path / "l.duckdb", edits=10, versions=2, probes=1, now=NOW)
