"""Fixtures of other tools' exports, and what a ledger holds once they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from execution.context import Context
from ledger import EditRecord, Ledger
from tasks.ingest import IngestOptions, IngestOutcome, ingest_paths
from tests.tasks.ingest_support import adds_up, opened

FIXTURES = Path(__file__).parent / "fixtures"


def take(home: Path, *paths: str | Path, **options: Any) -> tuple[Ledger, IngestOutcome]:
    """A home's ledger after files were taken; a name alone is a fixture's."""
    ledger, settings = opened(home)
    before = ledger.counts().lines
    files = [FIXTURES / path if isinstance(path, str) else path for path in paths]
    outcome = ingest_paths(Context(settings, ledger), files, IngestOptions(**options))
    assert adds_up(ledger, before + outcome.total("lines"))
    return ledger, outcome


def said(ledger: Ledger) -> list[tuple[str, str | None, str | None]]:
    """Question, right answer and old answer of every edit, in order of arrival."""
    return [(edit.prompt, edit.target, edit.old_answer) for edit in ledger.edits.find()]


def edit_about(ledger: Ledger, prompt: str) -> EditRecord:
    """The only edit with this question."""
    (found,) = [edit for edit in ledger.edits.find() if edit.prompt == prompt]
    return found


def reasons(ledger: Ledger) -> list[tuple[int, str]]:
    """Line and reason of every quarantined line."""
    return [(kept.line, kept.reason) for kept in ledger.quarantine.find()]
