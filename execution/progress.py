"""How far a step is, told to whoever listens: a step reports, the command line draws.

Steps run inside flows, whose parameters are ids and paths only; so the listener is not handed
down but stands here, for the time of a `with listening(...)`. Where there is no terminal, lines are
written: the first and the last of each stage, and one every 30 seconds between.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import IO

Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much
ProgressShare = Callable[[str, float], None]  # what is being done, and which share is done: 0 to 1
LINE_EVERY = 30.0  # seconds, of each stage

_listeners: list[Progress] = []


def report(what: str, done: int, total: int) -> None:
    """Tell every listener."""
    for listener in tuple(_listeners):
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Progress) -> Iterator[None]:
    """Call `listener` for every report made inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def lines_to(stream: IO[str], every: float = LINE_EVERY) -> Progress:
    """Writes `what done/total`: its first report, its last, and one in `every` seconds between."""
    began = time.monotonic()
    last: dict[str, float] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what in last and done < total and now - last[what] < every:
            return
        last[what] = now
        print(f"{now - began:6.0f} s  {what} {done}/{total}", file=stream, flush=True)

    return report
