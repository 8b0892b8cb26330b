"""A version as an MLflow model: loads with melo_engine alone, no ledger, no Prefect.

    mlflow.pyfunc.load_model("models:/NAME@champion").predict(["Who leads Acme?"])

The artifact holds the manifest, the edits, the key projection and the shards that were new with this
version. The others are found by the hash of their content, in this order:

    the artifact itself            shards/<hash>
    a store on this machine        model_config "shards", or MELO_SHARDS
    the versions that logged them  shards.json says which; fetched from the tracking server

    model_config  backbone   folder or hub id of the frozen model; MELO_MODEL_BACKBONE names another place
                  task       what it does
                  shards     a store of shards on this machine, where there is one
                  device     auto, cpu, cuda
                  chat       auto, always, never: whether prompts are rendered by the chat template
                  system_prompt  put before conversations that bring none
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

from artifacts.manifest import read_manifest
from artifacts.route import route_as_json
from artifacts.shards import ShardReferences
from melo_engine import Backbone, Conversation, Editor, Prompt, PromptSettings
from melo_engine.errors import VersionError
from registry.errors import RegistryError
from registry.fetching import fetch_shard

COLUMNS = ["answer", "edit", "block", "distance", "radius", "version"]


class MeloModel(PythonModel):  # type: ignore[misc]
    """Answers prompts with one version. Each answer says which edit it came from, if any."""

    def load_context(self, context: Any) -> None:
        """Open the backbone and the version; every checksum is verified.

        Raises VersionError where a shard is nowhere to be found or damaged, ManifestError.
        """
        config = context.model_config or {}
        folder = Path(context.artifacts["version"])
        backbone = Backbone.open(
            os.environ.get("MELO_MODEL_BACKBONE") or config["backbone"],
            config.get("task"),
            device=config.get("device", "auto"),
            prompts=PromptSettings(config.get("chat", "auto"), config.get("system_prompt")),
        )
        # Blocks are mapped, not read: the folder lives as long as the model.
        self.together = tempfile.TemporaryDirectory(prefix="melo-shards-")
        store = Path(self.together.name, "shards")
        store.mkdir()
        for name, place in _shards(folder, config, Path(self.together.name, "fetched")).items():
            (store / name).symlink_to(place.absolute())
        self.editor = Editor.load(backbone, folder, store)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """model_input: a DataFrame with a column `prompt` or `messages`, or a list of prompts.

        A prompt is a text or a list of messages. Raises PromptError where it is neither.
        Returns a DataFrame: answer, edit, block, distance, radius, version. What does not apply, as
        the edit behind the backbone's own answer, is None.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        answers = self.editor.answer(_prompts(model_input), **given)
        rows = [{"answer": a.text, **route_as_json(a.route), "version": a.version} for a in answers]
        return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _shards(folder: Path, config: dict[str, Any], fetched: Path) -> dict[str, Path]:
    """Where each shard of a version lies on this machine; those that don't are fetched."""
    store = Path(os.environ.get("MELO_SHARDS") or config.get("shards") or folder)
    references = ShardReferences.read(folder).others
    places = {}
    for name in read_manifest(folder)["shards"]:
        here = [p for p in (folder / "shards" / name, store / name) if p.is_dir()]
        if not here and name not in references:
            raise VersionError(
                f'shard "{name}" is not in "{folder}" and not in "{store}". '
                "Name a store that has it in MELO_SHARDS."
            )
        places[name] = here[0] if here else _fetched(name, references[name], fetched)
    return places


def _fetched(name: str, model: str, folder: Path) -> Path:
    """A shard from the artifacts of the logged model that holds it."""
    try:
        return fetch_shard(mlflow.MlflowClient(), name, model, folder / name)
    except (RegistryError, OSError) as error:
        raise VersionError(
            f'shard "{name}" could not be fetched from logged model "{model}": {error}. '
            "Set MLFLOW_TRACKING_URI, or name a store that has it in MELO_SHARDS."
        ) from None


def _prompts(inputs: Any) -> list[Prompt]:
    if isinstance(inputs, pd.DataFrame):
        named = [c for c in ("prompt", "messages") if c in inputs.columns]
        return [_prompt(value) for value in inputs[named[0] if named else inputs.columns[0]]]
    if isinstance(inputs, str):
        return [inputs]
    return [_prompt(value) for value in inputs]


def _prompt(value: Any) -> Prompt:
    """The prompt in a text, a list of messages, or a row that holds either."""
    if isinstance(value, dict):
        value = value.get("prompt", value.get("messages"))
    if isinstance(value, str):
        return value
    return Conversation.of(list(value) if isinstance(value, list | tuple | np.ndarray) else value)


mlflow.models.set_model(MeloModel())
