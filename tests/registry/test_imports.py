"""What opens no model starts without torch; what MLflow opens needs no settings of this project."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        ("registry.store, registry.lookup, registry.runs", ("torch", "transformers", "mlflow")),
        ("artifacts.atomic, artifacts.manifest, artifacts.shards", ("torch", "mlflow", "config")),
        (
            "serving.pyfunc_model",
            ("config", "ledger", "execution", "tasks", "prefect", "pydantic_settings"),
        ),
    ],
)
def test_modules_are_imported_without_what_they_have_no_need_of(
    modules: str, without: tuple[str, ...]
) -> None:
    script = f"import {modules}, sys; print(*sorted(sys.modules.keys() & {set(without)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []
