"""What of a version goes into MLflow: its own files, and the shards that are not there yet.

    version/manifest.json, edits.parquet, projection.safetensors
            shards/<content hash>/      blocks and keys that no earlier version has logged
            shards.json                 {"own": [...], "others": {content hash: logged model}}

So a version of 10,000 edits that adds 50 logs the blocks of the 50, and says where the rest lies.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from artifacts.manifest import read_manifest
from artifacts.shards import ShardReferences
from config import Settings
from ledger import Ledger
from ledger import VersionRecord as Recorded
from registry.store import Registry


def stored_shards(ledger: Ledger, registry: Registry, needed: set[str]) -> dict[str, str]:
    """Which of the shards some registered version has logged: {shard: logged model}, newest first."""
    found: dict[str, str] = {}
    there: dict[str, bool] = {}
    for other in reversed(ledger.versions.all()):
        model, own = other.info.get("model"), other.info.get("shards")
        if not isinstance(model, str) or not isinstance(own, list) or other.info.get("deleted"):
            continue
        hits = needed.intersection(own) - found.keys()
        if hits and model not in there:
            there[model] = registry.has_model(model)
        if hits and there[model]:
            found |= dict.fromkeys(hits, model)
    return found


def pack(
    settings: Settings, known: Recorded, folder: Path, stored: Mapping[str, str]
) -> ShardReferences:
    """Lay a version out for upload. stored: shards that are to be referred to."""
    source, store = settings.paths.version(known.id), settings.paths.shards
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("shards"))
    needed = list(read_manifest(source)["shards"])
    references = ShardReferences(
        tuple(shard for shard in needed if shard not in stored),
        {shard: stored[shard] for shard in needed if shard in stored},
    )
    for shard in references.own:
        shutil.copytree(store / shard, folder / "shards" / shard)
    references.write(folder)
    return references
