"""Ctrl-C, SIGTERM and a terminal that closes end a command, at any moment and soon.

    signal ──► handler ──► raises in the main thread: what is open is closed, leases are handed back
       └─────► pipe ─────► a thread ends the process by force once GRACE has passed

A library that catches what the handler raises changes nothing: the exit code is 128 and the signal's
number, as a shell has it. What is ended by force is taken up by the next run, like after `kill -9`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from types import FrameType

GRACE = 6.0  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "melo: stopped; nothing already recorded is lost."

_received: list[int] = []
_armed = threading.Event()


def listen() -> None:
    """Let the signals raise in the main thread. One that is ignored, as under nohup, stays so."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def arm(seconds: float = GRACE) -> None:
    """From now on a signal ends this process within so many seconds, whatever it is doing."""
    if _armed.is_set() or threading.current_thread() is not threading.main_thread():
        return
    _armed.set()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=(reading, seconds), daemon=True).start()


def exit_code() -> int | None:
    """The exit code of a process that a signal has told to end; None where none has."""
    return 128 + _received[0] if _received else None


def _raise(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _end_in_time(reading: int, seconds: float) -> None:
    number = _next(reading, None)
    if number is None:
        return
    _received.append(number)
    if number == signal.SIGINT:
        again = _next(reading, seconds)  # whoever presses Ctrl-C twice does not want to wait
        while again not in (None, signal.SIGINT):
            again = _next(reading, seconds)
    else:
        threading.Event().wait(seconds)
    with contextlib.suppress(OSError):
        os.write(2, f"{STOPPED}\n".encode())
    os._exit(128 + _received[0])


def _next(reading: int, patience: float | None) -> int | None:
    """The next signal of ours within so many seconds."""
    while select.select([reading], [], [], patience)[0]:
        if (number := os.read(reading, 1)[0]) in SIGNALS:
            return number
    return None
