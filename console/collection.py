"""Imports make a million objects that stay: nobody need look for garbage among them meanwhile."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile; what was made the first time is left out of later collections."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # what is frozen is never collected, garbage neither
            gc.freeze()
        if was_enabled:
            gc.enable()
