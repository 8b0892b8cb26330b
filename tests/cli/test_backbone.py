"""A prepared model becomes the home's own where the home has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.model.backbone import _adopt
from config import load
from config.template import TEMPLATE


@pytest.mark.parametrize("before", [None, "", TEMPLATE, "[plan]\nmax_edits_per_job = 7"])
def test_a_home_without_a_backbone_uses_the_prepared_one(
    tmp_path: Path, before: str | None
) -> None:
    if before is not None:
        (tmp_path / "melo.toml").write_text(before)
    assert _adopt(load(tmp_path), tmp_path / "model", "sequence-classification")
    found = load(tmp_path)
    assert found.backbone.path == "model"
    assert found.backbone.task == "sequence-classification"
    assert found.plan.max_edits_per_job == (7 if before and before.startswith("[plan]") else 50)


def test_a_home_with_a_backbone_keeps_it(tmp_path: Path) -> None:
    text = '[backbone]\npath = "mine"\n'
    (tmp_path / "melo.toml").write_text(text)
    assert not _adopt(load(tmp_path), tmp_path / "model", "seq2seq-lm")
    assert (tmp_path / "melo.toml").read_text() == text
