"""The cost at one small size, with a real store and a real gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.random_versions import invented_name, random_version
from benchmarks.scale import bench, build, measure
from melo_engine import Backbone, Editor
from tests.melo_engine import models


def test_every_cost_is_measured(minilm_like: Path, tmp_path: Path) -> None:
    build(minilm_like, 8, tmp_path)
    row = measure(minilm_like, 8, tmp_path)
    assert row["edits"] == 8
    assert all(value > 0 for value in row.values())
    assert (
        set(
            (
                "unrouted_ratio routed_ratio route_ms open_seconds peak_mb bytes_per_edit "
                "gate_seconds register_seconds"
            ).split()
        )
        <= row.keys()
    )


def test_every_invented_name_is_another() -> None:
    assert len({invented_name(i).casefold() for i in range(20_000)}) == 20_000


def test_a_random_version_routes_each_prompt_to_its_own_edit(minilm_like: Path) -> None:
    backbone = Backbone.open(minilm_like)
    version = random_version(backbone, 12)
    editor = Editor(backbone, version)
    edits = list(version.edits.values())
    assert [r.edit for r in editor.routes([e.request.prompt for e in edits])] == list(version.edits)


def test_a_size_that_fails_is_named(tmp_path: Path) -> None:
    models.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BenchError, match=r"to build 8 edits failed: .*config\.json"):
        bench(tmp_path, [8], lambda *_: None)
