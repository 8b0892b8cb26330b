"""The files of a version from MLflow, for a machine that does not have them.

A version logs the shards that none before it had logged; `shards.json` says which logged models hold
the others.

    <cache>/<content hash>/    manifest, edits, projection
            shards/<hash>/     blocks and keys, shared between versions
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from artifacts.atomic import remove_abandoned, replace_folder, scratch_folder
from artifacts.manifest import MANIFEST, read_manifest
from artifacts.shards import REFERENCES, ShardReferences
from registry.asking import ask
from registry.errors import NotInRegistry

CHECKSUMS = "sha256.json"  # in the folder of every shard


def fetch_version(client: Any, source: str, version: str, cache: Path) -> Path:
    """Copy a version and its shards into a cache, unless they are there; returns the version's folder.

    source: of the model version in MLflow. Raises NotInRegistry, RegistryUnreachable, ManifestError,
    OSError; no half-written folder stays.
    """
    folder, shards = cache / version, cache / "shards"
    if (folder / MANIFEST).is_file():
        return folder
    shards.mkdir(parents=True, exist_ok=True)
    remove_abandoned(cache)
    partial = scratch_folder(folder)
    try:
        _download(client, source, partial)
        manifest = next(partial.rglob(MANIFEST), None)
        if manifest is None:
            raise NotInRegistry(f"MLflow holds no version under {source}.")
        downloaded = manifest.parent
        holders = ShardReferences.read(downloaded).others
        for name in read_manifest(downloaded)["shards"]:
            if (shards / name).exists():
                continue
            logged = downloaded / "shards" / name
            if not logged.is_dir():
                if name not in holders:
                    raise NotInRegistry(f"shard {name} is not in MLflow; restore it from a backup.")
                logged = fetch_shard(client, name, holders[name], partial / "others" / name)
            replace_folder(logged, shards / name)
        replace_folder(downloaded, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def fetch_shard(client: Any, name: str, model: str, folder: Path) -> Path:
    """Download a shard from the logged model that holds it; returns the folder its files lie in.

    Raises NotInRegistry where the model is gone or lacks it, RegistryUnreachable.
    """
    _download(client, f"{_version_uri(client, model)}/shards/{name}", folder)
    checksums = next(folder.rglob(CHECKSUMS), None)
    if checksums is None:
        raise NotInRegistry(f"logged model {model} does not hold shard {name}.")
    return checksums.parent


def read_references(client: Any, model: str) -> ShardReferences:
    """Which shards a logged model holds, and where the others are. Raises as `fetch_shard` does."""
    with tempfile.TemporaryDirectory() as folder:
        _download(client, f"{_version_uri(client, model)}/{REFERENCES}", Path(folder))
        return ShardReferences.read(Path(folder))


def _version_uri(client: Any, model: str) -> str:
    logged = ask(lambda: client.get_logged_model(model))
    if logged is None:
        raise NotInRegistry(f"logged model {model} was deleted, and what lies with it is gone.")
    return f"{logged.artifact_location}/artifacts/version"


def _download(client: Any, uri: str, folder: Path) -> None:
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    ask(
        lambda: mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri
        )
    )
