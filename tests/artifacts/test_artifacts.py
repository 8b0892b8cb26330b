"""Routes as JSON, shard references, manifests: what is shared is read as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import ManifestError
from artifacts.manifest import MANIFEST, read_manifest
from artifacts.route import route_as_json
from artifacts.shards import ShardReferences
from melo_engine import Route

NUMBERS = st.floats(allow_infinity=False)
NAMES = st.text(min_size=1, max_size=8)


@given(NUMBERS, NUMBERS, st.none() | NAMES)
def test_a_route_is_json_by_the_standard(distance: float, radius: float, edit: str | None) -> None:
    found = route_as_json(Route(edit, edit, distance, radius))
    assert list(found) == ["edit", "block", "distance", "radius"]
    json.dumps(found, allow_nan=False)
    assert (found["distance"] is None) == (distance != distance)


@given(st.lists(NAMES, unique=True), st.dictionaries(NAMES, NAMES))
def test_shard_references_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, own: list[str], others: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("version")
    ShardReferences(tuple(own), others).write(folder)
    found = ShardReferences.read(folder)
    assert found == ShardReferences(tuple(own), others)
    assert found.models == sorted(set(others.values()))


def test_a_version_that_says_nothing_refers_to_nothing(tmp_path: Path) -> None:
    assert ShardReferences.read(tmp_path) == ShardReferences()


def test_a_manifest_of_another_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"schema": 1}')
    with pytest.raises(ManifestError, match=r"has schema 1; this release reads .*melo init"):
        read_manifest(tmp_path)
