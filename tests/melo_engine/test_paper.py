"""MELO as published, weaknesses included: it is a baseline, so it must not get better by accident."""

from __future__ import annotations

import numpy as np
import pytest

from melo_engine.paper import PaperEditor, PaperIndex, PaperSettings
from tests.melo_engine import models

ADA, JON = (1, 2), (3, 4)


def at(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_key_of_its_own_label_joins_the_cluster_and_moves_its_centre() -> None:
    index = PaperIndex(1.0)
    index.add(at(0, 0), 0, ADA)
    index.add(at(1.5, 0), 0, ADA)
    (cluster,) = index.clusters
    assert cluster.centre.tolist() == [0.75, 0]
    assert cluster.radius == 1.0
    index.add(at(2.5, 0), 0, ADA)
    assert cluster.centre.tolist() == pytest.approx([4 / 3, 0])
    assert cluster.radius == pytest.approx(4 / 3)


def test_a_key_beyond_both_radii_starts_a_cluster() -> None:
    index = PaperIndex(1.0)
    index.add(at(0, 0), 0, ADA)
    index.add(at(2.5, 0), 1, ADA)
    assert [c.radius for c in index.clusters] == [1.0, 1.0]
    assert [index.find(at(x, 0)) for x in (0.9, 1.2, 1.6)] == [0, None, 1]


def test_a_conflict_splits_both_radii_at_half_the_distance() -> None:
    index = PaperIndex(1.0)
    index.add(at(0, 0), 0, ADA)
    index.add(at(1, 0), 1, JON)
    assert [c.radius for c in index.clusters] == pytest.approx([0.5 - 1e-5] * 2)
    assert [index.find(at(x, 0)) for x in (0.4, 0.5, 0.6)] == [0, None, 1]


def test_the_same_label_in_another_block_is_a_conflict_too() -> None:
    index = PaperIndex(1.0)
    index.add(at(0, 0), 0, ADA)
    index.add(at(1, 0), 1, ADA)
    assert len(index.clusters) == 2


def test_a_conflict_at_distance_zero_loses_the_point() -> None:
    index = PaperIndex(1.0)
    index.add(at(0, 0), 0, ADA)
    index.add(at(0, 0), 1, JON)
    assert index.find(at(0, 0)) is None


def test_the_key_is_read_at_the_last_padded_position(edited_t5) -> None:
    editor = PaperEditor(edited_t5.backbone, PaperSettings(steps=1))
    short, long = "who leads velandor ?", "what is the capital city of velandor now ?"
    alone, together = editor._keys([short])[0], editor._keys([short, long])[0]
    assert float(np.linalg.norm(alone - together)) > 0.1


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_edits_answer_in_their_batch_and_editing_again_loses_them(make_edited, kind: str) -> None:
    backbone = make_edited(kind).backbone
    settings = PaperSettings(initial_radius=0.5, steps=80, batch=2, rank=4)
    editor = PaperEditor(backbone, settings)
    requests = models.requests(kind, 2)
    editor.edit(requests)
    assert len(editor.blocks) == 1
    prompts = [r.prompt for r in requests]
    base = [a.text for a in make_edited(kind).base_before[:2]]
    assert editor.answer(prompts) == [r.target for r in requests]
    editor.edit(requests)
    assert editor.answer(prompts) == base
