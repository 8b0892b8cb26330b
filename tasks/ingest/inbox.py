"""The watched folder: what is put there is taken in and moved to `done/`.

    inbox/feed.jsonl ──claimed──► .taking/<token>/feed.jsonl ──taken──► done/<hash>-feed.jsonl

A claimed file has a place of its own: what is put into the inbox under its name meanwhile is another
file, and waits. It goes on to `done/` only after its last line is in the ledger; what was claimed
when a process died is taken up by the next one. Several may take files at once: the ledger lets
them share one, and who finds it gone knows that it was taken.

A file counts as complete when its name does not end in `.part` or `.tmp` and does not begin with a
dot: write under such a name, then rename.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import uuid
from collections.abc import Generator, Iterable
from pathlib import Path

from artifacts.hashing import file_hash
from execution.context import Context
from execution.progress import Progress
from tasks.ingest.errors import IngestError
from tasks.ingest.step import ingest_paths
from tasks.ingest.taking import IngestOutcome

LOOK_EVERY = 2000  # milliseconds
UNFINISHED = (".part", ".tmp")
CLAIMED = ".taking"
log = logging.getLogger(__name__)


def ingest_inbox(context: Context, progress: Progress | None = None) -> IngestOutcome:
    """Take in every finished file of the inbox, oldest first. Links are passed over.

    Raises OSError for the first file that can't be read or moved, after all others are taken.
    """
    outcome = IngestOutcome()
    inbox = context.paths.inbox
    problem: OSError | None = None
    for path in [*_claimed(inbox), *_finished(inbox)]:
        try:
            claimed = path if path.parent != inbox else _claim(path)
            if claimed is not None:
                _take(context, claimed, progress, outcome)
        except OSError as error:
            problem = problem or error
    if problem is not None:
        raise problem
    return outcome


def _claim(path: Path) -> Path | None:
    """Move a file to a place of its own; None where another process was faster."""
    folder = path.parent / CLAIMED / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        return path.rename(folder / path.name)
    except FileNotFoundError:
        folder.rmdir()
        return None


def _take(
    context: Context,
    claimed: Path,
    progress: Progress | None,
    outcome: IngestOutcome,
) -> None:
    """Take a claimed file in and move it on, unless another process does so first."""
    inbox = context.paths.inbox
    done = inbox / "done"
    try:
        for taken in ingest_paths(context, [claimed], progress=progress).files:
            taken.name = str(inbox / claimed.name)
            outcome.files.append(taken)
        done.mkdir(exist_ok=True)
        os.replace(claimed, done / f"{file_hash(claimed)[:12]}-{claimed.name}")
    except (FileNotFoundError, IngestError):
        if claimed.exists():
            raise
    with contextlib.suppress(OSError):
        claimed.parent.rmdir()


def watch_inbox(context: Context) -> Generator[IngestOutcome, None, None]:
    """Take in what is there, then whatever arrives, until the caller stops."""
    from watchfiles import watch

    context.paths.inbox.mkdir(parents=True, exist_ok=True)
    yield _look(context)
    # A look every few seconds besides: what came before the watching began raises no event.
    for _ in watch(
        context.paths.inbox,
        recursive=False,
        raise_interrupt=False,
        yield_on_timeout=True,
        rust_timeout=LOOK_EVERY,
    ):
        taken = _look(context)
        if taken.files:
            yield taken


def _look(context: Context) -> IngestOutcome:
    """Take in what is there; a file that can't be read does not end the watch."""
    try:
        return ingest_inbox(context)
    except OSError as error:
        log.warning("a file of the inbox could not be taken, later then: %s", error)
        return IngestOutcome()


def _claimed(inbox: Path) -> list[Path]:
    """What was claimed and is not in `done/`: it is being taken, or whoever took it died."""
    return _by_age(inbox.glob(f"{CLAIMED}/*/*"))


def _finished(inbox: Path) -> list[Path]:
    return _by_age(filter(is_finished, inbox.glob("*")))


def is_finished(path: Path) -> bool:
    """Whether a file counts as complete, by its name."""
    return not path.name.startswith(".") and path.suffix not in UNFINISHED


def _by_age(entries: Iterable[Path]) -> list[Path]:
    """The regular files among entries, oldest first; one that vanishes meanwhile is left out."""
    files = []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            status = entry.lstat()
            if stat.S_ISREG(status.st_mode):
                files.append((status.st_mtime, entry.name, entry))
    return [entry for _, _, entry in sorted(files)]
