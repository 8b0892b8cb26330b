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
from config import Paths
from execution.context import Context
from registry.store import Registry


def stored_shards(context: Context, registry: Registry, version: str) -> dict[str, str]:
    """Which shards of a version some registered one has logged: {shard: logged model}, newest first."""
    needed = set(read_manifest(context.paths.version(version))["shards"])
    holders: dict[str, str] = {}
    exists: dict[str, bool] = {}
    for record in reversed(context.ledger.versions.all()):
        model, shards = record.info.get("model"), record.info.get("shards")
        if not isinstance(model, str) or not isinstance(shards, list) or record.info.get("deleted"):
            continue
        hits = needed.intersection(shards) - holders.keys()
        if hits and model not in exists:
            exists[model] = registry.has_model(model)
        if hits and exists[model]:
            holders |= dict.fromkeys(hits, model)
    return holders


def pack(paths: Paths, version: str, folder: Path, stored: Mapping[str, str]) -> ShardReferences:
    """Lay a version out for upload. stored: shards that are to be referred to."""
    source, store = paths.version(version), paths.shards
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
