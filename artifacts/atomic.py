"""Files and folders that are there whole or not at all, whatever dies when.

    .<name>.<pid>-<thread>.partial ──► <name>                                            one file
    .<name>.<host>.<pid>.partial ──forced to disk──► <name>                              a folder
                    <name> of before ──► .<name>.<host>.<pid>.before ──► gone

A folder takes another's place by changing places with it, in one step where the file system can.
Where it can't there is a moment without either; what a writer left that died in it is put back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

LEFT_FOR = 24 * 3600.0
HERE, EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write one file, and its folder where that is missing: readers see the old content or the new.

    content: text is written as UTF-8. Raises OSError, and leaves nothing beside the file.
    """
    _write(path, content, durable=False, mode=0o666)


def write_durably(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write as `write_atomically` does; the content is on disk when this returns.

    mode: permissions of the file, less the process's umask. Raises OSError.
    """
    _write(path, content, durable=True, mode=mode)
    fsync(path.parent)


def _write(path: Path, content: str | bytes, *, durable: bool, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_native_id()}"
    partial = path.with_name(f".{path.name}.{writer}.partial")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_folder(folder: Path) -> Path:
    """Where this process writes what is to become `folder`, which may be a file too."""
    return folder.with_name(f".{folder.name}.{socket.gethostname()}.{os.getpid()}.partial")


def scratch_folder(folder: Path) -> Path:
    """A new folder beside `folder`, each time another; `remove_abandoned` knows whose it is."""
    writer = f"{socket.gethostname()}.{os.getpid()}"
    made = tempfile.mkdtemp(
        dir=folder.parent, prefix=f".{folder.name}-", suffix=f".{writer}.partial"
    )
    return Path(made)


def fsync_all(partial: Path) -> None:
    """Force a folder and everything in it to disk."""
    for folder, _, files in os.walk(partial):
        for file in files:
            fsync(Path(folder, file))
        fsync(Path(folder))


def replace_folder(partial: Path, folder: Path) -> None:
    """Let a folder that was written beside its place take it, over what is there."""
    fsync_all(partial)
    aside = partial.with_suffix(".before")
    shutil.rmtree(aside, ignore_errors=True)
    if _moved_into_place(partial, folder):
        pass
    elif _exchanged(partial, folder):
        shutil.rmtree(partial, ignore_errors=True)
    else:  # the only whole copy is moved, never deleted first
        os.replace(folder, aside)
        os.replace(partial, folder)
    fsync(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _moved_into_place(partial: Path, folder: Path) -> bool:
    """Move a folder to its place; False where another one stands there already."""
    try:
        os.replace(partial, folder)
    except OSError:
        if not folder.is_dir():
            raise
        return False
    return True


def remove_abandoned(parent: Path, *, left_for: float = LEFT_FOR) -> int:
    """Remove what dead writers left in a folder, and put back what they had moved aside.

    left_for: seconds without a change after which a writer on another host counts as dead.
    """
    abandoned = [*parent.glob(".*.before"), *parent.glob(".*.partial")]
    abandoned = [path for path in abandoned if _abandoned(path, left_for)]
    for path in abandoned:
        folder = path.with_name(path.name[1:].partition(".")[0])
        if path.suffix == ".before" and not folder.exists():
            os.replace(path, folder)
            fsync(parent)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(abandoned)


def _abandoned(path: Path, left_for: float) -> bool:
    """Whether its writer ran on this host and is gone, or it has not changed for `left_for` seconds."""
    _, _, writer = path.stem[1:].partition(".")
    host, _, pid = writer.rpartition(".")
    if host == socket.gethostname() and pid.isdigit() and not process_runs(int(pid)):
        return True
    with contextlib.suppress(OSError):
        return path.stat().st_ctime < time.time() - left_for
    return False


def process_runs(pid: int) -> bool:
    """Whether a process of this host runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def fsync(path: Path) -> None:
    """Force one file, or the names in one folder, to disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _exchanged(path: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where that can't be done here."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and not rename(
        HERE, os.fsencode(path), HERE, os.fsencode(other), EXCHANGE
    )
