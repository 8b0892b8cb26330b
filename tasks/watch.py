"""Tell Prefect of files that arrive in the inbox: `python -m tasks.watch HOME`.

The schedule finds them as well, some minutes later; so nothing is lost while this is not running.
"""

from __future__ import annotations

import sys
from pathlib import Path

from watchfiles import watch

from config import load
from tasks.ingest.inbox import is_finished

LOOK_EVERY = 1000  # milliseconds


def tell_of_arrivals(home: Path) -> None:
    """Emit an event for each batch of finished files, until the process is ended."""
    from prefect.events import emit_event

    inbox = load(home).paths.inbox
    inbox.mkdir(parents=True, exist_ok=True)
    for changes in watch(inbox, step=LOOK_EVERY, recursive=False):
        paths = [Path(path) for _, path in changes]
        if any(path.is_file() and is_finished(path) for path in paths):
            emit_event("melo.inbox.file", resource={"prefect.resource.id": f"melo.home.{home}"})


if __name__ == "__main__":
    tell_of_arrivals(Path(sys.argv[1]))
