"""What `melo doctor` looks at in a home and its machine: versions, disk, place, GPU, backbone, ledger."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from console.context import State

# Versions that were proven to work together; others pass `pip check` and fail at run time.
PINNED = {
    "prefect": "3.8.8",
    "fastapi": "0.150.0",
    "sqlalchemy": "2.0.58",
    "mlflow": "3.17.2",
    "starlette": "1.10.0",
    "duckdb": "2.0.0",
    "transformers": "5.23.0",
    "torch": "2.13.0",
}
LEAST_DISK = 2 * 2**30  # bytes


@dataclass(frozen=True)
class Finding:
    """One thing looked at. remedy: what to do, where it is not well."""

    what: str
    well: bool
    found: str
    remedy: str = ""


def check_packages() -> Iterator[Finding]:
    """Python and the libraries whose versions are pinned."""
    right = (3, 11) <= sys.version_info[:2] <= (3, 13)
    remedy = "" if right else "Use Python 3.11, 3.12 or 3.13: make install."
    yield Finding("Python", right, sys.version.split()[0], remedy)
    for name, wanted in PINNED.items():
        try:
            got = version(name).split("+")[0]
        except PackageNotFoundError:
            got = "missing"
        if got != wanted:
            yield Finding(name, False, got, f"{wanted} is the one that works: make install.")


def check_disk(home: Path) -> Finding:
    """How much room there is, and whether the home may be written."""
    place = home if home.exists() else home.parent
    free = shutil.disk_usage(place if place.exists() else Path("/")).free
    room = f"{free / 2**30:.1f} GiB free"
    if not _may_write(place):
        remedy = "It is read-only, or of another user: nothing can be taken in or edited."
        return Finding("disk", False, f"{room}, can't be written", remedy)
    well = free >= LEAST_DISK
    return Finding("disk", well, room, "" if well else "Free some space.")


def _may_write(place: Path) -> bool:
    """Whether files may be made here. Nothing is written to find out."""
    with contextlib.suppress(OSError):
        read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        return not read_only and os.access(place, os.W_OK | os.X_OK)
    return True  # it isn't there yet


def check_place(settings: Any) -> Finding:
    """Whether what the home keeps of places names the home where it is."""
    from registry.relocation import moved

    move = moved(settings)
    if move is None:
        return Finding("place", True, str(settings.home))
    return Finding(
        "place",
        False,
        f"was at {move.before}, is at {move.now}",
        "Any command that writes, like `melo run`, puts right what names the old place.",
    )


def check_device(settings: Any) -> Finding:
    """Whether the GPU that the settings want is there."""
    import torch

    wanted, there = settings.backbone.device, torch.cuda.is_available()
    device = torch.cuda.get_device_name(0) if there else "no GPU; training runs on the CPU"
    well = there or not wanted.startswith("cuda")
    return Finding("device", well, device, "" if well else 'Set backbone.device to "auto".')


def check_backbone(settings: Any) -> Finding:
    """Whether the model can be opened."""
    from execution.errors import TaskError
    from execution.versions import Versions
    from melo_engine import MeloError
    from registry.errors import RegistryError

    try:
        opened = Versions(settings).backbone
    except (MeloError, TaskError, RegistryError) as error:
        return Finding("backbone", False, "can't be opened", " ".join(str(error).split()))
    return Finding("backbone", True, f"{opened.name}, {opened.task}, on {opened.device}")


def check_ledger(here: State) -> Iterator[Finding]:
    """Whether its counts add up, and jobs that no worker is at."""
    from ledger import LedgerError

    if not here.settings.paths.ledger.exists():
        yield Finding("ledger", False, "none", "Start with `melo init`.")
        return
    try:
        with here.reader() as ledger:
            counts = ledger.counts()
            leased = ledger.jobs.find(state="leased")
            failed = ledger.jobs.find(state="failed")
    except LedgerError as error:
        yield Finding("ledger", False, "can't be opened", " ".join(str(error).split()))
        return
    adds_up = sum(counts.counts.values()) == counts.lines
    yield Finding(
        "ledger",
        adds_up,
        f"{counts.lines} lines, champion {(counts.champion or 'none')[:12]}",
        "" if adds_up else "The counts do not add up: restore the file from a backup.",
    )
    now = datetime.now(UTC)
    orphans = [job for job in leased if job.lease_until and job.lease_until < now]
    yield Finding(
        "jobs",
        not orphans,
        f"{len(leased)} at work, {len(orphans)} without a living worker, {len(failed)} set aside",
        "`melo run` takes them up." if orphans else "",
    )
