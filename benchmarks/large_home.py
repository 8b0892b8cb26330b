"""A synthetic home of any size for the dashboards: ledger, the champion's files, served traffic.

Always the same for the same seed and moment. The champion's keys lie in clusters, one a relation, as
real ones do; blocks are left out, since the pages read none.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from benchmarks.progress import Report, silent
from benchmarks.synthetic_ledger import write_synthetic_ledger
from config import Settings, load
from ledger import Ledger

RELATIONS = 6


def make_home(
    home: Path,
    *,
    edits: int = 100_000,
    versions: int = 500,
    probes: int = 1000,
    requests: int = 100_000,
    key_size: int = 512,
    now: datetime | None = None,
    seed: int = 0,
    progress: Report = silent,
) -> Settings:
    """Write the home; `home` must not exist. probes: for each version; requests: in 7 days."""
    home.mkdir(parents=True)
    settings = load(home)
    moment = now or datetime.now(UTC)
    with write_synthetic_ledger(
        settings.paths.ledger,
        edits=edits,
        versions=versions,
        probes=probes,
        now=moment,
        seed=seed,
        read_copy=settings.paths.read_ledger,
        progress=lambda done, total: progress("making up a ledger", done, total),
    ) as ledger:
        champion = ledger.champions.current()
        assert champion is not None
        rng = np.random.default_rng(seed)
        progress("making up keys and traffic", 0, 2)
        ids = _version(settings, ledger, champion.version, key_size, rng)
    progress("making up keys and traffic", 1, 2)
    _traffic(settings, champion.version, ids, requests, moment, rng)
    progress("making up keys and traffic", 2, 2)
    return settings


def _version(
    settings: Settings, ledger: Ledger, version: str, key_size: int, rng: np.random.Generator
) -> list[str]:
    """The champion's manifest, edits, keys and projection; returns the ids of its edits."""
    active = ledger.edits.active()
    count, relation = len(active), key_size // 4
    middles = rng.normal(size=(RELATIONS, relation))
    kinds = np.array([hash_of(e.relation) for e in active]) % RELATIONS
    parts = []
    for values in (
        middles[kinds] + 0.8 * rng.normal(size=(count, relation)),
        rng.normal(size=(count, key_size - relation)),
    ):
        parts.append(values / np.linalg.norm(values, axis=1, keepdims=True))
    folder = settings.paths.versions / version
    shard = settings.paths.versions / "shards" / "synthetic"
    folder.mkdir(parents=True)
    shard.mkdir(parents=True)
    save_file({"keys": np.hstack(parts).astype(np.float32)}, shard / "keys.safetensors")
    save_file(
        {"mean": np.zeros(key_size - relation, np.float32)}, folder / "projection.safetensors"
    )
    ids = [e.id for e in active]
    pq.write_table(
        pa.table(
            {
                "id": ids,
                "prompt": [e.prompt for e in active],
                "subject": [e.subject for e in active],
                "shard": ["synthetic"] * count,
                "row": np.arange(count, dtype=np.int32),
                "radius": np.clip(rng.normal(0.75, 0.12, count), 0.2, 1.2),
            }
        ),
        folder / "edits.parquet",
    )
    manifest = {"schema": 1, "id": version, "shards": ["synthetic"], "edits": count}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return ids


def _traffic(
    settings: Settings,
    version: str,
    ids: list[str],
    requests: int,
    now: datetime,
    rng: np.random.Generator,
) -> None:
    """Requests over seven days, busier by day; a third hit edits, a few edits most of them."""
    folder = settings.home / "traffic"
    folder.mkdir()
    ago = 7 * 86400 * np.sort(rng.beta(1.2, 1.0, requests))[::-1]
    which = (len(ids) * rng.beta(0.4, 3.0, requests)).astype(int)
    ratio = np.abs(rng.normal(0.9, 0.45, requests))
    compared = rng.random(requests) < 0.5
    lines: dict[str, list[str]] = {}
    for number in range(requests):
        at = now - timedelta(seconds=float(ago[number]))
        hit = bool(compared[number] and ratio[number] <= 1)
        line = {
            "time": at.isoformat(),
            "version": version,
            "edit": ids[which[number]] if hit else None,
            "block": f"block-{which[number]}" if hit else None,
            "distance": round(0.75 * float(ratio[number]), 4) if compared[number] else None,
            "radius": 0.75 if compared[number] else None,
            "seconds": round(float(0.02 + 0.03 * ratio[number]), 4),
        }
        lines.setdefault(at.date().isoformat(), []).append(json.dumps(line))
    for day, written in lines.items():
        (folder / f"{day}.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")


def hash_of(text: str | None) -> int:
    """A hash of a text that is the same in every process."""
    return sum(map(ord, text or ""))
