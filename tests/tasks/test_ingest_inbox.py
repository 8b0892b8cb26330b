from __future__ import annotations

from pathlib import Path

from tasks.ingest import ingest_inbox, ingest_paths
from tasks.ingest.inbox import watch_inbox
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened


def test_the_inbox_is_emptied_into_done(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS[:3]))
    (inbox / "b.jsonl.part").write_bytes(lines_of(ROWS[3:]))
    assert ingest_inbox(ledger, settings).total("accepted") == 3
    assert [entry.name for entry in inbox.iterdir() if entry.is_file()] == ["b.jsonl.part"]
    assert [entry.name[13:] for entry in (inbox / "done").iterdir()] == ["a.jsonl"]
    assert ingest_inbox(ledger, settings).files == []


def test_a_file_taken_but_not_yet_moved_is_only_moved(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    ingest_paths(ledger, [inbox / "a.jsonl"], settings)
    assert ingest_inbox(ledger, settings).files[0].known_before
    assert list(inbox.glob("*.jsonl")) == []
    assert adds_up(ledger, 7)


def test_the_watched_inbox_takes_what_arrives(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    arrivals = watch_inbox(ledger, settings)
    assert next(arrivals).files == []
    (settings.paths.inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    assert next(arrivals).total("accepted") == 7
    arrivals.close()
