"""The MLflow store of a home: one experiment and one registered model for each backbone.

The ledger decides; the registry shows. So everything here can be done again at any time: aliases
are set to what the ledger says, a version is found by its content hash before it is logged.
"""

from __future__ import annotations

import json
import logging
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from config import Settings
from config.environment import of_our_own, past_proxies
from melo_engine import Backbone
from tasks.place import put_right
from tasks.register.contents import REFERENCES, Contents

log = logging.getLogger(__name__)
HASH_TAG, VERDICT_TAG = "melo.content_hash", "melo.gate"


class Registry:
    """Opens the store when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def client(self) -> Any:
        """An MlflowClient on the home's store.

        What an outer job's environment says of runs and stores is not taken over.
        """
        past_proxies(os.environ)
        of_our_own(os.environ, prefect=False)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.settings.home.mkdir(parents=True, exist_ok=True)
        if (moved := put_right(self.settings)) is not None:
            log.warning("%s", moved)
        mlflow.set_tracking_uri(self.settings.tracking_uri)
        mlflow.set_registry_uri(self.settings.tracking_uri)
        return mlflow.MlflowClient()

    def name_for(self, backbone: Backbone) -> str:
        """The registered model of a backbone: two of one name are told apart by their weights."""
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in backbone.name)
        return f"{self.settings.registry.model_name}-{plain}-{backbone.weights_hash[:8]}"

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, made where it is missing."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        where = None
        if self.settings.registry.tracking_uri is None:
            self.settings.paths.artifacts.mkdir(parents=True, exist_ok=True)
            where = self.settings.paths.artifacts.absolute().as_uri()
        return str(self.client.create_experiment(name, artifact_location=where))

    def ensure_model(self, name: str) -> None:
        """Make the registered model where it is missing."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(
                name, description="Versions of one backbone with its edits, gated by melo."
            )

    def find(self, name: str, version: str) -> str | None:
        """The registry's number for a version of this content, None where it is not there."""
        for found in self.client.search_model_versions(f"name='{name}'"):
            if found.tags.get(HASH_TAG) == version and found.status == "READY":
                return str(found.version)
        return None

    def model_of(self, name: str, number: str) -> str:
        """The logged model behind a registered version."""
        return str(self.client.get_model_version(name, number).source).rpartition("/")[2]

    def holds(self, name: str, number: str | None) -> bool:
        """Whether a number of a registered model is there."""
        from mlflow.exceptions import MlflowException

        try:
            return number is not None and bool(self.client.get_model_version(name, number))
        except MlflowException:
            return False

    def has_model(self, model: str) -> bool:
        """Whether a logged model is still there."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_logged_model(model).status) == "READY"
        except MlflowException:
            return False

    def contents(self, model: str) -> Contents:
        """Which shards a logged model holds, and where the others are that it needs."""
        import mlflow

        place = self.client.get_logged_model(model).artifact_location
        path = mlflow.artifacts.download_artifacts(f"{place}/artifacts/version/{REFERENCES}")
        return Contents.of(json.loads(Path(path).read_text(encoding="utf-8")))

    def set_alias(self, name: str, alias: str, number: str) -> bool:
        """Point an alias at a version; False where it does so already, and nothing is written."""
        aliases = self.client.get_registered_model(name).aliases
        if str(aliases.get(alias)) == number:
            return False
        self.client.set_registered_model_alias(name, alias, number)
        return True

    def drop_alias(self, name: str, alias: str) -> None:
        """Take an alias away where it is set."""
        if alias in self.client.get_registered_model(name).aliases:
            self.client.delete_registered_model_alias(name, alias)
