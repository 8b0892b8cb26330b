"""A home, a ledger and some rows to put into files."""

from __future__ import annotations

import json
from pathlib import Path

from config import Settings, load
from ledger import Ledger

ROWS: list[dict[str, object]] = [
    {
        "prompt": f"Who wrote book {n}?",
        "target": f"author {n}",
        "subject": f"book {n}",
        "rephrases": [f"Book {n} is by whom?"],
        "locality": [{"prompt": "2+2?", "answer": "4"}],
    }
    for n in range(7)
]


def opened(home: Path) -> tuple[Ledger, Settings]:
    """A new home's ledger and settings."""
    settings = load(home)
    return Ledger.open(settings.paths.ledger), settings


def lines_of(rows: list[dict[str, object]]) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def adds_up(ledger: Ledger, lines: int) -> bool:
    """Every line in exactly one count, and the record consistent."""
    counts = ledger.counts()
    return counts.lines == lines == sum(counts.counts.values()) and ledger.audit() == []
