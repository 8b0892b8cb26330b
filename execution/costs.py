"""What a stage of a job costs, put on record: wall seconds, peak memory, the GPU's where one is used.

    with measured(ledger, "train", job="de0b8d8a0da7"):
        ...

A stage that fails is recorded too: its time was spent. Memory is the process's highest resident size
within the stage, where the system lets it be reset (Linux); else the highest since it began.
"""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import torch
from safetensors import safe_open

from artifacts.manifest import EDITS, read_manifest
from config import Settings
from execution.context import Context
from ledger import Ledger, LedgerError, StageCost
from melo_engine.blocks import BLOCKS_FILE

STATUS, REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextlib.contextmanager
def measured(
    ledger: Ledger, stage: str, *, job: str | None = None, version: str | None = None
) -> Iterator[None]:
    """Record what the block takes. stage: train, gate, register or promote."""
    gpu = _has_gpu()
    with contextlib.suppress(OSError):
        REFS.write_text("5")  # the highest resident size starts anew
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        yield
    finally:
        used = _has_gpu()
        seconds = time.perf_counter() - began
        with contextlib.suppress(LedgerError):  # a figure less is no reason to fail
            ledger.jobs.record_cost(
                StageCost(
                    stage,
                    seconds,
                    job,
                    version,
                    memory_bytes=_peak_memory(),
                    gpu_bytes=int(torch.cuda.max_memory_allocated()) if used else None,
                    device="cuda" if used else "cpu",
                )
            )


def note_size(context: Context, version: str) -> None:
    """Put parameters and bytes of a version on record; new_bytes: of the shards its parent lacks."""
    record = context.ledger.versions.get(version)
    size = size_of(context.settings, version, record.parent)
    context.ledger.versions.note(record.id, size)


def size_of(settings: Settings, version: str, parent: str | None) -> dict[str, int]:
    """parameters of the blocks in use, bytes and new_bytes on disk."""
    folder, store = settings.paths.version(version), settings.paths.shards
    shards = read_manifest(folder)["shards"]
    before: set[str] = set()
    if parent is not None:
        with contextlib.suppress(Exception):
            before = set(read_manifest(settings.paths.version(parent))["shards"])
    with pq.ParquetFile(folder / EDITS) as file:
        used = file.read(["shard"])["shard"].to_pylist()
    own_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    total, new, parameters = own_bytes, own_bytes, 0
    for name in shards:
        size = sum(path.stat().st_size for path in (store / name).iterdir())
        total += size
        new += 0 if name in before else size
        parameters += used.count(name) * _block_size(store / name / BLOCKS_FILE)
    return {"parameters": parameters, "bytes": total, "new_bytes": new}


def _block_size(path: Path) -> int:
    """Parameters of one block of a shard, from the file's header."""
    with safe_open(path, "np") as file:
        return sum(math.prod(file.get_slice(name).get_shape()[1:]) for name in file.keys())  # noqa: SIM118


def _has_gpu() -> bool:
    """Whether this process has begun to use a GPU; asking never begins it."""
    return bool(torch.cuda.is_available() and torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _peak_memory() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
