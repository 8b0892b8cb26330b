"""The watched folder: what is put there is taken in and moved to `done/`.

    inbox/feed.jsonl ──taken──► inbox/done/<hash>-feed.jsonl

A file is moved only after its last line is in the ledger; one that was taken but not yet moved
when a process died is recognised by its content. A file counts as complete when its name does not
end in `.part` or `.tmp` and does not begin with a dot: write under such a name, then rename.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from config import Settings
from ledger import Ledger
from tasks.ingest.lines import content_hash
from tasks.ingest.step import IngestOutcome, Progress, ingest_paths

LOOK_EVERY = 2000  # milliseconds
UNFINISHED = (".part", ".tmp")


def ingest_inbox(
    ledger: Ledger, settings: Settings, progress: Progress | None = None
) -> IngestOutcome:
    """Take in every finished file of the inbox, oldest first. Links are passed over."""
    outcome = IngestOutcome()
    done = settings.paths.inbox / "done"
    for path in _finished(settings.paths.inbox):
        taken = ingest_paths(ledger, [path], settings, progress)
        outcome.files.extend(taken.files)
        done.mkdir(exist_ok=True)
        os.replace(path, done / f"{content_hash(path)[:12]}-{path.name}")
    return outcome


def watch_inbox(ledger: Ledger, settings: Settings) -> Generator[IngestOutcome, None, None]:
    """Take in what is there, then whatever arrives, until the caller stops."""
    from watchfiles import watch

    settings.paths.inbox.mkdir(parents=True, exist_ok=True)
    yield ingest_inbox(ledger, settings)
    # A look every few seconds besides: what came before the watching began raises no event.
    for _ in watch(
        settings.paths.inbox,
        recursive=False,
        raise_interrupt=False,
        yield_on_timeout=True,
        rust_timeout=LOOK_EVERY,
    ):
        taken = ingest_inbox(ledger, settings)
        if taken.files:
            yield taken


def _finished(inbox: Path) -> list[Path]:
    if not inbox.is_dir():
        return []
    files = [
        entry
        for entry in inbox.iterdir()
        if entry.is_file()
        and not entry.is_symlink()
        and not entry.name.startswith(".")
        and entry.suffix not in UNFINISHED
    ]
    return sorted(files, key=lambda entry: (entry.stat().st_mtime, entry.name))
