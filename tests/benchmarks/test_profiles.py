"""A profile names places of the engine, and no floor lies above what the machine can do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.profiles import ELSEWHERE, Work, place
from benchmarks.records import read_records
from benchmarks.report import render
from melo_engine.surgery import projection_sizes
from tests.conftest import Melo


def test_products_and_bytes_are_counted_where_they_are_asked_for() -> None:
    a, b = torch.randn(4, 8), torch.randn(8, 16)
    with Work() as work:
        _ = a @ b
    assert work.operations == {ELSEWHERE: 2 * 4 * 8 * 16}
    assert work.bytes == {ELSEWHERE: 4 * (4 * 8 + 8 * 16 + 4 * 16)}


def test_a_linear_layer_counts_the_same_in_inference() -> None:
    layer, states = torch.nn.Linear(8, 4), torch.ones(3, 8)
    with torch.inference_mode(), Work() as work:
        layer(states)
    assert work.operations.total() == 2 * 3 * 8 * 4


def test_the_work_of_a_backward_pass_counts_too() -> None:
    a, b = torch.randn(4, 8), torch.randn(8, 16, requires_grad=True)
    with Work() as work:
        (a @ b).sum().backward()
    assert work.operations[ELSEWHERE] == 2 * (2 * 4 * 8 * 16)


def test_a_place_is_the_innermost_function_of_the_engine() -> None:
    seen: list[str] = []

    class Spy(torch.nn.Linear):
        @property
        def in_features(self) -> int:  # read within projection_sizes
            seen.append(place(sys._getframe()))
            return 1

        @in_features.setter
        def in_features(self, value: int) -> None: ...

    projection_sizes(Spy(1, 1))
    assert "surgery.projection_sizes" in seen
    assert place(sys._getframe()) == ELSEWHERE


def test_editing_and_serving_are_profiled_and_shown(
    tmp_path: Path, melo_in: Callable[[Path], Melo], questions_file: Path, t5_folder: Path
) -> None:
    code, _, err = melo_in(tmp_path)(
        "bench",
        "--results",
        str(tmp_path / "results"),
        "profile",
        "--data",
        str(questions_file),
        "--edits",
        "3",
        "--backbone",
        str(t5_folder),
    )
    assert code == 0, err
    records = read_records(tmp_path / "results")
    [record] = records.values()
    for part in ("editing", "serving"):
        found = record["figures"][part]
        assert found["gflop"] > 0
        assert found["floor_seconds"] > 0
        assert abs(sum(p["share"] for p in found["places"]) - 1) < 0.01
        assert any("." in p["place"] for p in found["places"])
    text, plots = render(records, "page")
    assert "Largest gaps:" in text
    assert len(plots) == 2
