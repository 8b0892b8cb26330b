"""A file of a cache that takes long to make: one process makes it, the others wait for it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from artifacts.atomic import write_atomically

T = TypeVar("T")


def made_once(
    path: Path,
    read: Callable[[bytes], T],
    make: Callable[[], T],
    content: Callable[[T], bytes],
    *,
    damaged: tuple[type[Exception], ...] = (),
) -> T:
    """What a file holds; made now and kept in it where it is missing, or where `read` raises `damaged`.

    Raises OSError where the file can be neither read nor written.
    """
    unusable: tuple[type[BaseException], ...] = (FileNotFoundError, *damaged)
    with contextlib.suppress(*unusable):
        return read(path.read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees a dead process's lock
        with contextlib.suppress(*unusable):
            return read(path.read_bytes())
        made = make()
        write_atomically(path, content(made))
        return made
