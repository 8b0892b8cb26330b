"""Benchmarks measure the product's own editor: they make no settings, projection or calibration."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.engine import product_settings
from config import Settings
from execution.versions import Versions

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MAKERS = set(
    "EditSettings KeyProjection Calibration Recipe learn_projection calibrate learn_tagger".split()
)
# `--practice` is an experiment that its record names; random weights have no relations at all.
EXPERIMENTS = {
    "questions.py": {"Recipe", "learn_projection", "calibrate"},
    "gpu.py": {"EditSettings", "Calibration"},
}


def made_in(source: str) -> set[str]:
    """Which of MAKERS are called."""
    calls = [n.func for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    names = {f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in calls}
    return names & MAKERS


@pytest.mark.parametrize(
    "path", sorted(BENCHMARKS.rglob("*.py")), ids=lambda p: str(p.relative_to(BENCHMARKS))
)
def test_a_benchmark_makes_no_editor_of_its_own(path: Path) -> None:
    allowed = EXPERIMENTS.get(str(path.relative_to(BENCHMARKS)), set())
    assert made_in(path.read_text(encoding="utf-8")) <= allowed


def test_what_is_made_is_seen() -> None:
    assert made_in("x = melo_engine.EditSettings(rank=8)") == {"EditSettings"}
    assert made_in("projection = learn_projection(reader, rows, Recipe())") == {
        "Recipe",
        "learn_projection",
    }


def test_settings_are_those_of_a_home_without_any() -> None:
    assert product_settings(0) == Versions(Settings()).edit_settings
