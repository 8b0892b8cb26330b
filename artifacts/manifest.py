"""The manifest of a version: its schema, what it was made for, which files and shards belong to it.

<folder>/manifest.json, edits.parquet, projection.safetensors
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from artifacts.errors import ManifestError

SCHEMA = 2
MANIFEST, EDITS, PROJECTION = "manifest.json", "edits.parquet", "projection.safetensors"
_ENTRIES = frozenset(
    {"id", "parent", "backbone", "tokenizer", "encoder", "calibration", "shards", "sha256"}
)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of a saved version. Raises ManifestError where none can be read."""
    path = Path(folder) / MANIFEST
    try:
        manifest = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ManifestError(
            f'"{folder}" is no version: {MANIFEST} can\'t be read ({error}).'
        ) from None
    if manifest.get("schema") != SCHEMA:
        raise ManifestError(
            f'"{folder}" has schema {manifest.get("schema")}; this release reads {SCHEMA}: keys are read '
            "and radii are calibrated otherwise now. Open it with the release that wrote it; to make its "
            "edits anew, ingest their reports into a new home (`melo init`)."
        )
    missing = _ENTRIES - manifest.keys()
    if missing:
        raise ManifestError(f'"{folder}" is no version: {MANIFEST} lacks {min(missing)}.')
    return manifest
