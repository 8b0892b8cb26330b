"""How long a service that was killed takes to answer again, above what its backbone takes to load.

    python -c "Backbone.open(...)"       imports and loads the model, nothing else   backbone_seconds
    melo serve, killed, melo serve       until /readyz names the champion            ready_seconds

Both in turn, round after round, on the same machine; the overhead is their difference in a round.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.servers import start_serve
from config import Settings

ROUNDS = 3
LIMIT = 10.0  # seconds that a start may take above the backbone's loading
_LOAD = """
import os, sys
from melo_engine import Backbone
Backbone.open(sys.argv[1])
print("open", flush=True)
os._exit(0)
"""


def restarts(
    settings: Settings,
    backbone_path: Path | str,
    champion: str,
    say: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The part of the record about starting. champion: the version that has to answer each time."""
    started = start_serve(settings)  # the first one fills the system's caches
    ready: list[float] = []
    backbone: list[float] = []
    try:
        for turn in range(ROUNDS):
            say("killing and starting again", turn, ROUNDS)
            started.kill()
            backbone.append(backbone_seconds(backbone_path))
            started = start_serve(settings)
            ready.append(started.seconds)
            served = httpx.get(f"{started.url}/readyz", timeout=10).json()["versions"]["champion"]
            if served != champion:
                raise RuntimeError(f"{served} serves after a kill, not {champion}.")
    finally:
        started.end()
    say("killing and starting again", ROUNDS, ROUNDS)
    above = [service - bare for service, bare in zip(ready, backbone, strict=True)]
    overhead = statistics.median(above)
    return {
        "ready_seconds": round(statistics.median(ready), 2),
        "backbone_seconds": round(statistics.median(backbone), 2),
        "ready_overhead_seconds": round(overhead, 2),
        "ready_overheads": [round(seconds, 2) for seconds in above],
        "ready_limit": LIMIT,
        "ready_within_limit": overhead <= LIMIT,
    }


def backbone_seconds(path: Path | str) -> float:
    """Seconds that a fresh process takes to import the engine and open the backbone."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(path)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.stdout.close()
    if process.wait() != 0 or line != b"open\n":
        raise RuntimeError(f"the backbone {path} could not be opened in a process of its own.")
    return seconds
