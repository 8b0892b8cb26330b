"""The GPU script runs from end to end, here on tiny shapes and a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.errors import BenchError
from benchmarks.gpu import GpuLoad, bench, table
from benchmarks.records import read_records
from benchmarks.shapes import SHAPES, shaped
from tests.conftest import Melo


def test_every_row_of_the_table_is_measured() -> None:
    load = GpuLoad(edits=8, paper_edits=4, batch=4, tokens=8, rounds=1)
    figures = bench(["tiny-gpt2", "tiny-llama"], load)
    assert figures["device"] == ("cpu" if not torch.cuda.is_available() else figures["device"])
    for shape in figures["shapes"]:
        rows = {r["what"]: r for r in shape["rows"]}
        assert rows["edits a second"]["melo"] > 0
        assert rows["edits a second"]["paper"] > 0
        for share in ("0%", "50%", "100%"):
            speeds = rows[f"tokens a second, {share} routed"]
            assert all(speeds[m] > 0 for m in ("bare", "melo", "paper"))
        routed = [rows[f"rows that melo routed, {s} routed"]["melo"] for s in ("0%", "50%", "100%")]
        assert routed == [0.0, 0.5, 1.0]
    assert len(table(figures)) == sum(len(s["rows"]) for s in figures["shapes"])


def test_the_large_shapes_have_the_parameters_of_their_models() -> None:
    for name, billions in (("gpt2-xl", 1.56), ("llama-1b", 1.24)):
        with torch.device("meta"):
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_config(SHAPES[name]())
        count = sum(p.numel() for p in model.parameters()) / 1e9
        assert count == pytest.approx(billions, abs=0.01)


def test_another_shape_is_refused_by_name() -> None:
    with pytest.raises(BenchError, match="allowed: gpt2-xl"):
        shaped("gpt5", device="cpu", dtype=torch.float32, answer_tokens=4)


def test_the_command_prints_one_table(tmp_path: Path, melo_in: Callable[[Path], Melo]) -> None:
    code, out, err = melo_in(tmp_path)(
        "bench",
        "--results",
        str(tmp_path / "results"),
        "gpu",
        "--shapes",
        "tiny-llama",
        "--edits",
        "4",
        "--batch",
        "4",
        "--tokens",
        "8",
        "--rounds",
        "1",
    )
    assert code == 0, err
    assert "tokens a second, 50% routed" in out
    [record] = read_records(tmp_path / "results").values()
    assert record["bench"] == "gpu"
