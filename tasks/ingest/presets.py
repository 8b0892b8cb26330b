"""Shapes of input and wordings of relations, from YAML and melo.toml."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

from config import PresetSettings, Settings
from ledger import Mapping, RelationTemplates, json_paths
from ledger.staging import FIELDS
from tasks.ingest.errors import IngestError


def mapping(name: str, settings: Settings) -> Mapping:
    """The mapping of a preset, melo.toml's before the built-in ones.

    Raises IngestError, naming those that exist.
    """
    if name in settings.presets:
        return _mapping(name, settings.presets[name])
    built_in = _built_in("shapes.yaml")
    if name not in built_in:
        names = sorted({*built_in, *settings.presets})
        raise IngestError(f"no preset {name!r}. There are: {', '.join(names)}.")
    return _mapping(name, PresetSettings.model_validate(built_in[name]))


def relation_templates(settings: Settings) -> tuple[RelationTemplates, ...]:
    """Wordings for each relation; `*` is for a relation that has none of its own."""
    own = {name.lower(): wordings for name, wordings in settings.relations.items()}
    templates = {**_built_in("relations.yaml"), **own}
    for relation, wordings in templates.items():
        if not wordings or any("{subject}" not in wording for wording in wordings):
            raise IngestError(
                f"relation {relation!r}: each wording needs {{subject}}, and there must be one."
            )
    return tuple(
        RelationTemplates(relation, tuple(wordings)) for relation, wordings in templates.items()
    )


def _mapping(name: str, preset: PresetSettings) -> Mapping:
    fields = {}
    for field, paths in preset.fields.items():
        if field not in FIELDS:
            raise IngestError(f"preset {name}: no field {field!r}. Fields: {', '.join(FIELDS)}.")
        listed = [paths] if isinstance(paths, str) else paths
        fields[field] = tuple(found for path in listed for found in _paths(name, field, path))
    locality = preset.locality
    if locality.list is not None:
        fields["locality"] = _paths(name, "locality.list", locality.list)
    side_by_side = None
    if locality.prompts is not None:
        side_by_side = (
            _paths(name, "locality.prompts", locality.prompts),
            _paths(name, "locality.answers", locality.answers or "nothing"),
        )
    return Mapping(name, fields, locality.prompt, locality.answer, side_by_side)


def _paths(preset: str, field: str, text: str) -> tuple[str, ...]:
    """The JSON paths that a setting means. A name that a key or column has as a whole comes first."""
    if text.startswith("$"):
        if json_paths.is_path(text):
            return (text,)
        problem = "is no JSON path"
    elif text.strip():
        inside = f"$.{text}"
        if re.fullmatch(r"\w+", text):
            return (inside,)
        whole = json_paths.quoted(text)
        return (whole, inside) if json_paths.is_path(inside) else (whole,)
    else:
        problem = "is empty"
    raise IngestError(
        f"preset {preset}, field {field}: {text!r} {problem}. Give the name of a column or key, with "
        'dots where one stands in another, or a JSON path like $.a.b, $.list[0] or $."a.b".'
    )


@cache
def _built_in(name: str) -> dict[str, Any]:
    text = resources.files("config").joinpath("presets", name).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))
