"""Shapes of input and wordings of relations, from YAML and melo.toml."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from config import Settings
from ledger import Mapping, RelationTemplates
from ledger.staging import FIELDS
from tasks.ingest.errors import IngestError


def mapping(name: str, settings: Settings) -> Mapping:
    """The mapping of a preset. Raises IngestError, naming those that exist."""
    known = _presets()
    if name not in known:
        raise IngestError(f"no preset {name!r}. There are: {', '.join(sorted(known))}.")
    return _mapping(name, known[name])


def relation_templates(settings: Settings) -> tuple[RelationTemplates, ...]:
    """Wordings for each relation; `*` is for a relation that has none of its own."""
    return tuple(
        RelationTemplates(relation, tuple(wordings)) for relation, wordings in _relations().items()
    )


def _mapping(name: str, given: dict[str, Any]) -> Mapping:
    fields = {}
    for field, paths in given.get("fields", {}).items():
        if field not in FIELDS:
            raise IngestError(f"preset {name}: no field {field!r}. Fields: {', '.join(FIELDS)}.")
        paths = [paths] if isinstance(paths, str) else paths
        fields[field] = tuple(path if path.startswith("$") else f"$.{path}" for path in paths)
    locality = given.get("locality", {})
    return Mapping(name, fields, locality.get("prompt", "prompt"), locality.get("answer", "answer"))


@cache
def _presets() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(_text("shapes.yaml")))


@cache
def _relations() -> dict[str, list[str]]:
    return dict(yaml.safe_load(_text("relations.yaml")))


def _text(name: str) -> str:
    return resources.files("config").joinpath("presets", name).read_text(encoding="utf-8")
