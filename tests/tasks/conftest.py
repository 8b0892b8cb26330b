from __future__ import annotations

from pathlib import Path

import pytest

from ledger import Ledger
from tests.tasks.ingest_support import opened


@pytest.fixture
def ledger_home(tmp_path: Path) -> tuple[Ledger, Path]:
    """An empty home's ledger, and the home."""
    return opened(tmp_path)[0], tmp_path
