"""A Prefect worker that gives back what it has freed: `python -m deployment.worker --pool POOL ...`.

Takes the options of `prefect worker start`. A worker makes and drops some megabytes for each run it
starts (HTTP clients, TLS contexts, tasks). Some of it hangs together in cycles, which Python collects
only once a quarter of all objects is new; and of what is freed glibc keeps the pages between what is
still in use. Every so often the cycles are collected and the pages go back to the system.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time

from prefect.cli import app

EVERY = 20.0  # seconds


def give_back() -> None:
    """Hand what is no longer used to the system, as far as the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _keep_small() -> None:
    while True:
        give_back()
        time.sleep(EVERY)


def main() -> None:
    """Start a worker, and the thread that keeps it small."""
    threading.Thread(target=_keep_small, name="give-back", daemon=True).start()
    sys.argv[1:1] = ["worker", "start"]
    app()


if __name__ == "__main__":
    main()
