"""A Prefect worker that gives back what it has freed: `python -m cli.worker --pool POOL ...`.

Takes the options of `prefect worker start`. A worker makes and drops some megabytes for each run it
starts (HTTP clients, TLS contexts); glibc keeps the pages between what is still in use, so that the
process grows for days while its heap does not. Every so often these pages go back to the system.
"""

from __future__ import annotations

import ctypes
import sys
import threading

from prefect.cli import app

EVERY = 20.0  # seconds


def give_back() -> bool:
    """Hand free pages of the heap to the system; False where the C library can't (not glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return trim is not None


def _keep_small() -> None:
    while give_back():
        threading.Event().wait(EVERY)


def main() -> None:
    """Start a worker, and the thread that keeps it small."""
    threading.Thread(target=_keep_small, name="give-back", daemon=True).start()
    sys.argv[1:1] = ["worker", "start"]
    app()


if __name__ == "__main__":
    main()
