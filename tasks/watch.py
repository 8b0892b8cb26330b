"""Tell Prefect of files that arrive in the inbox: `python -m tasks.watch HOME`.

The schedule finds them as well, some minutes later; so nothing is lost while this is not running.
"""

from __future__ import annotations

import sys
from pathlib import Path

from watchfiles import watch

from config import load
from tasks.ingest.inbox import UNFINISHED

LOOK_EVERY = 1000  # milliseconds


def tell_of_arrivals(home: Path) -> None:
    """Emit an event for each batch of finished files, until the process is ended."""
    from prefect.events import emit_event

    inbox = load(home).paths.inbox
    inbox.mkdir(parents=True, exist_ok=True)
    for changes in watch(inbox, step=LOOK_EVERY, recursive=False):
        if any(_finished(Path(path)) for _, path in changes):
            emit_event("melo.inbox.file", resource={"prefect.resource.id": f"melo.home.{home}"})


def _finished(path: Path) -> bool:
    return path.is_file() and path.suffix not in UNFINISHED and not path.name.startswith(".")


if __name__ == "__main__":
    tell_of_arrivals(Path(sys.argv[1]))
