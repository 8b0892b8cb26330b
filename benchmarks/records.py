"""The record of a run: one JSON file a run, so that two branches never write the same file.

    benchmarks/results/<bench>/<when>-<digest>.json

    {"bench": "edit", "command": "melo bench edit --data zsre.jsonl", "when": "2026-11-23T05:00:00Z",
     "commit": "aab14d5...", "changed": false, "versions": {...}, "machine": {...}, "device": "cpu",
     "seed": 0, "settings": {...}, "figures": {...}}

A record holds no path of the machine: files and folders appear by their names alone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts.atomic import write_atomically
from benchmarks.errors import RecordError

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "faiss-cpu",
    "numpy",
    "safetensors",
    "mlflow",
    "duckdb",
)
_FIELDS = frozenset({"schema", "bench", "command", "when", "commit", "machine", "figures"})

Record = dict[str, Any]


def make_record(
    bench: str,
    command: str,
    figures: Mapping[str, Any],
    *,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Record:
    """Everything about a run that someone needs to judge it or to run it again.

    device: the accelerator's name; "cpu" where None. figures: NaN and infinity become null, since
    JSON has neither.
    """
    return {
        "schema": SCHEMA,
        "bench": bench,
        "command": command,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **_commit(),
        "versions": _versions(),
        "machine": machine(),
        "device": device or "cpu",
        "seed": seed,
        "settings": _clean(dict(settings or {})),
        "figures": _clean(dict(figures)),
    }


def append(record: Record, folder: Path | None = None) -> Path:
    """Write a record into a file of its own below `folder`; return the file."""
    folder = (folder or RESULTS) / str(record["bench"])
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    when = str(record["when"]).replace("-", "").replace(":", "")
    path = folder / f"{when}-{digest}.json"
    write_atomically(path, text)
    return path


def read_records(folder: Path | None = None) -> dict[str, Record]:
    """All records below `folder`, by file name as in `edit/2026...json`, oldest first.

    Raises RecordError for a file that is no record.
    """
    folder = folder or RESULTS
    records = {str(p.relative_to(folder)): _read(p) for p in sorted(folder.glob("*/*.json"))}
    return dict(sorted(records.items(), key=lambda item: (item[1]["when"], item[0])))


def latest(records: Mapping[str, Record]) -> dict[str, Record]:
    """The last record of each command: an older one of the same command is history."""
    last = {r["command"]: name for name, r in records.items()}
    return {name: records[name] for name in records if name in last.values()}


def machine() -> dict[str, Any]:
    """The processor, its cores, the threads in use, memory, and how busy the machine was."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _threads(),
        "memory_gb": round(pages * size / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _read(path: Path) -> Record:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path.name} can't be read as JSON ({error}); delete it.") from None
    missing = _FIELDS - set(record if isinstance(record, dict) else ())
    if missing:
        raise RecordError(f"{path.name} is no record: it has no {min(missing)}; delete it.")
    return dict(record)


def _commit() -> dict[str, Any]:
    """The commit that ran, and whether tracked files had changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    return {
        "commit": git("rev-parse", "HEAD") or None,
        "changed": bool(git("diff", "--stat", "HEAD")),
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _clean(value: Any) -> Any:
    """As JSON takes it: no NaN, no path, no tuple."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_clean(v) for v in value]
    return value
