"""What jobs leave in HOME/work until they end: the next attempt, or another worker, goes on from there.

<job>.json                       what came of its training
<job>.plan.json                  how it was cut into shards
<job>.<number>-<digest>.json     what came of a shard
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from artifacts.atomic import write_atomically
from config import Settings


def result_file(settings: Settings, job: str) -> Path:
    """The file for what came of a job's training."""
    return settings.paths.work / f"{job}.json"


def plan_file(settings: Settings, job: str) -> Path:
    """The file that says how a job was cut into shards."""
    return settings.paths.work / f"{job}.plan.json"


def read(file: Path) -> dict[str, Any]:
    """What was left. Raises OSError, ValueError where it is not there or not whole."""
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def write(file: Path, values: Mapping[str, object]) -> None:
    """Leave it, whole or not at all."""
    write_atomically(file, json.dumps(values))


def forget(settings: Settings, job: str) -> None:
    """Drop all that was left for a job, once it has ended."""
    result_file(settings, job).unlink(missing_ok=True)
    for file in settings.paths.work.glob(f"{job}.*.json"):
        file.unlink(missing_ok=True)


def sweep(settings: Settings, jobs: Collection[str], before: float) -> None:
    """Drop what was left for others than these jobs, and has not changed since `before`.

    That is of jobs whose worker died when they had ended, or was late.
    """
    for file in settings.paths.work.glob("*"):
        with contextlib.suppress(OSError):
            if (
                file.name.lstrip(".").partition(".")[0] not in jobs
                and file.stat().st_mtime < before
            ):
                file.unlink()


def versions_needed(settings: Settings, jobs: Collection[str]) -> set[str]:
    """Versions that some jobs go on from."""
    needed: set[str | None] = set()
    for file in settings.paths.work.glob("*.json"):
        if file.name.partition(".")[0] in jobs:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                values = read(file)
                needed |= {values.get("candidate"), values.get("version")}
    return {version for version in needed if version is not None}
