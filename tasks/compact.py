"""The step: free what no version on record refers to.

Versions that a gate recorded stay, and so do their shards: MLflow's versions refer to them by
content. What goes was trained for jobs that never got to a verdict, and is older than a day, so
that nothing goes that a worker is about to use. While a version can't be read nobody knows which
shards it names: none goes then.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from artifacts.errors import ManifestError
from artifacts.manifest import read_manifest
from execution.context import Context
from execution.work_folder import sweep, versions_needed

YOUNG = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Compacted:
    """What was removed. unreadable: versions for whose sake all shards stayed."""

    versions: int = 0
    shards: int = 0
    bytes: int = 0
    unreadable: int = 0


def compact(context: Context, *, older_than: float = YOUNG) -> Compacted:
    """Remove versions that were never recorded and shards that no version names."""
    folder, store = context.paths.versions, context.paths.shards
    if not folder.is_dir():
        return Compacted()
    before = time.time() - older_than
    going = {
        job.id for state in ("open", "leased") for job in context.ledger.jobs.find(state=state)
    }
    # Whatever the clock says of their age, versions that an open job goes on from stay. What is on
    # record is asked for after that: a job that ends meanwhile puts its version there.
    going_on = versions_needed(context.settings, going)
    recorded = {v.id for v in context.ledger.versions.all() if not v.info.get("deleted")}
    stale = [p for p in _folders(folder) if p.name not in recorded | going_on and p != store]
    removed = [size for path in stale if (size := _remove(path, before)) is not None]
    present = {p.name for p in _folders(folder) if p != store}
    named = {version: _shards(folder / version) for version in present | recorded}
    unreadable = sum(shards is None for shards in named.values())
    needed = {shard for shards in named.values() for shard in shards or ()}
    unused = [p for p in _folders(store) if p.name not in needed] if not unreadable else []
    shards = [size for path in unused if (size := _remove(path, before)) is not None]
    sweep(context.settings, going, before)
    context.ledger.store.publish()
    return Compacted(len(removed), len(shards), sum(removed) + sum(shards), unreadable)


def _folders(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.glob("[!.]*")) if p.is_dir()]


def _shards(version: Path) -> list[str] | None:
    """The shards that a version names; None where it can't be read."""
    try:
        return list(read_manifest(version)["shards"])
    except ManifestError:
        return None


def _remove(path: Path, before: float) -> int | None:
    """Remove a folder that has not been used since `before`; its bytes, None where it has been."""
    try:
        if path.stat().st_mtime >= before:
            return None
    except FileNotFoundError:
        return None
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    shutil.rmtree(path, ignore_errors=True)
    return size
