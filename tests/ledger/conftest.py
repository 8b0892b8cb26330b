from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger; at the end of every test the whole record must be consistent."""
    with Ledger.open(tmp_path / "ledger.duckdb") as opened:
        yield opened
        assert opened.audit() == []
