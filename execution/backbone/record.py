"""What a model's folder says of itself: `melo_backbone.json`, beside the weights that it tells of.

Read without torch or transformers, so that a command that only looks for a folder starts at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from artifacts.hashing import file_hash

RECORD = "melo_backbone.json"
WEIGHTS = "model.safetensors"
SCHEMA = 1


def content_key(kind: str, recipe: Mapping[str, object], seed: int, facts: Sequence[object]) -> str:
    """Return the hash of everything that decides a prepared model."""
    content = json.dumps([SCHEMA, kind, recipe, seed, facts], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def read_record(out: Path) -> dict[str, object] | None:
    """Return what `melo_backbone.json` says, None where there is none that can be read."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def holds(out: Path, key: str, *, to_the_byte: bool = True) -> bool:
    """Say whether `out` holds the model of this key, undamaged.

    to_the_byte: read all weights and compare their hash; else their size alone is looked at.
    """
    record, weights = read_record(out), out / WEIGHTS
    if record is None or record.get("content_key") != key or not weights.is_file():
        return False
    if to_the_byte:
        return record.get("weights_sha256") == file_hash(weights)
    return record.get("weights_bytes") == weights.stat().st_size
