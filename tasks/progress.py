"""How far a step is, told to whoever listens: a step reports, the command line draws.

Steps run inside flows, whose parameters are ids and paths only; so the listener is not handed
down but stands here, for the time of a `with listening(...)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_listeners: list[Listener] = []


def report(what: str, done: int, total: int) -> None:
    """Tell every listener."""
    for listener in tuple(_listeners):
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` for every report made inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
