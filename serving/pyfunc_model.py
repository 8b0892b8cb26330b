"""A version as an MLflow model: loads with melo_engine alone, no ledger, no Prefect.

    mlflow.pyfunc.load_model("models:/NAME@champion").predict(["Who leads Acme?"])

The artifact holds the manifest, the edits, the key projection and the shards that are new in this
version; the others are found by the hash of their content in the store that `model_config` names.

    model_config  backbone   folder or hub id of the frozen model
                  task       what it does
                  shards     the store of shards
                  device     auto, cpu, cuda
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from melo_engine import Backbone, Editor
from melo_engine.version import read_manifest


class MeloModel(PythonModel):  # type: ignore[misc]
    """Answers prompts with one version. Each answer says which edit it came from, if any."""

    def load_context(self, context: Any) -> None:
        """Open the backbone and the version; every checksum is verified."""
        config = context.model_config or {}
        folder = Path(context.artifacts["version"])
        backbone = Backbone.open(
            config["backbone"], config.get("task"), device=config.get("device", "auto")
        )
        store = Path(config["shards"])
        needed = read_manifest(folder)["shards"]
        if all((store / name).is_dir() for name in needed):
            self.editor = Editor.load(backbone, folder, store)
            return
        with tempfile.TemporaryDirectory() as together:
            for name in needed:
                own = folder / "shards" / name
                (Path(together) / name).symlink_to(own if own.is_dir() else store / name)
            self.editor = Editor.load(backbone, folder, together)
            for shard in self.editor.version.shards.values():
                shard.pairs  # noqa: B018  read now, the folder is about to go

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """model_input: a DataFrame with a column `prompt`, or a list of prompts.

        Returns a DataFrame: answer, edit, block, distance, radius, version.
        """
        answers = self.editor.answer(_prompts(model_input), **_generation(params))
        return pd.DataFrame(
            {
                "answer": [a.text for a in answers],
                "edit": [a.edit for a in answers],
                "block": [a.route.block for a in answers],
                "distance": [a.route.distance for a in answers],
                "radius": [a.route.radius for a in answers],
                "version": [a.version for a in answers],
            }
        )


def _prompts(given: Any) -> list[str]:
    if isinstance(given, pd.DataFrame):
        column = "prompt" if "prompt" in given.columns else given.columns[0]
        return [str(text) for text in given[column]]
    if isinstance(given, str):
        return [given]
    return [str(row["prompt"] if isinstance(row, dict) else row) for row in given]


def _generation(params: dict[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (params or {}).items() if v is not None}


mlflow.models.set_model(MeloModel())
