"""The MLflow store of a home: one experiment and one registered model for each backbone.

The ledger decides; the registry shows. So everything here can be done again at any time: aliases
are set to what the ledger says, a version is found by its content hash before it is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from artifacts.tags import HASH_TAG
from config import Settings
from registry.asking import ask
from registry.client import import_mlflow
from registry.relocation import put_right
from registry.runs import LoggedModel

log = logging.getLogger(__name__)


class NamedBackbone(Protocol):
    """What of a backbone names its registered model."""

    @property
    def name(self) -> str: ...
    @property
    def weights_hash(self) -> str: ...


class Registry:
    """Opens the store when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def client(self) -> Any:
        """An MlflowClient on the home's store, which is created where it is missing."""
        mlflow = import_mlflow()
        self.settings.home.mkdir(parents=True, exist_ok=True)
        if (moved := put_right(self.settings)) is not None:
            log.warning("%s", moved)
        mlflow.set_tracking_uri(self.settings.tracking_uri)
        mlflow.set_registry_uri(self.settings.tracking_uri)
        return mlflow.MlflowClient()

    def name_for(self, backbone: NamedBackbone) -> str:
        """The registered model of a backbone: two of one name are told apart by their weights."""
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in backbone.name)
        return f"{self.settings.registry.model_name}-{plain}-{backbone.weights_hash[:8]}"

    def experiment(self, name: str) -> str:
        """The id of the experiment of this name, made where it is missing."""
        existing = self.client.get_experiment_by_name(name)
        if existing is not None:
            return str(existing.experiment_id)
        where = None
        if self.settings.registry.tracking_uri is None:
            self.settings.paths.artifacts.mkdir(parents=True, exist_ok=True)
            where = self.settings.paths.artifacts.absolute().as_uri()
        return str(self.client.create_experiment(name, artifact_location=where))

    def has_finished_run(self, experiment: str, tag: str, value: str) -> bool:
        """Whether a run with this tag has come to its end."""
        runs = self.client.search_runs([experiment], f"tags.`{tag}` = '{value}'")
        return any(run.info.status == "FINISHED" for run in runs)

    def close_dead_runs(self, experiment: str, version: str) -> None:
        """End the runs of a version that are still open: they belong to a process that died."""
        for run in self.client.search_runs([experiment], f"tags.`{HASH_TAG}` = '{version}'"):
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")

    def finish_run(self, name: str, number: str) -> None:
        """End the run that logged a version, where that is still open: all of it is logged."""
        run = self.client.get_run(self.client.get_model_version(name, number).run_id)
        if run.info.status == "RUNNING":
            self.client.set_terminated(run.info.run_id)

    def log_folder(self, name: str, number: str, folder: Path, where: str) -> None:
        """Add the files of a folder to the artifacts of the run that logged a version."""
        run = self.client.get_model_version(name, number).run_id
        self.client.log_artifacts(run, str(folder), where)

    def create_version(
        self, name: str, model: LoggedModel, tags: Mapping[str, str], description: str
    ) -> str:
        """Register a logged model; returns the number. The registered model is made if missing."""
        if ask(lambda: self.client.get_registered_model(name)) is None:
            self.client.create_registered_model(
                name, description="Versions of one backbone with its edits, gated by melo."
            )
        created = self.client.create_model_version(
            name,
            source=model.uri,
            run_id=model.run,
            model_id=model.id,  # an MLflow server refuses a source without it
            tags=dict(tags),
            description=description,
        )
        return str(created.version)

    def find(self, name: str, version: str) -> str | None:
        """The registry's number for a version of this content, None where it is not there."""
        for registered in self.client.search_model_versions(f"name='{name}'"):
            if registered.tags.get(HASH_TAG) == version and registered.status == "READY":
                return str(registered.version)
        return None

    def model_of(self, name: str, number: str) -> str:
        """The logged model behind a registered version."""
        return str(self.client.get_model_version(name, number).source).rpartition("/")[2]

    def holds(self, name: str, number: str | None, version: str) -> bool:
        """Whether a number of a registered model is there, with this content.

        A store that was made anew, or restored from a backup, gives numbers out again. Raises
        RegistryUnreachable.
        """
        if number is None:
            return False
        registered = ask(lambda: self.client.get_model_version(name, number))
        return registered is not None and registered.tags.get(HASH_TAG) == version

    def has_model(self, model: str) -> bool:
        """Whether a logged model is still there. Raises RegistryUnreachable."""
        logged = ask(lambda: self.client.get_logged_model(model))
        return logged is not None and str(logged.status) == "READY"

    def delete(self, name: str, number: str | None, model: str | None) -> None:
        """Delete a number of a registered model, and a logged model; what is gone already is fine.

        Raises RegistryUnreachable where MLflow refuses.
        """
        if number is not None:
            ask(lambda: self.client.delete_model_version(name, number))
        if model is not None:
            ask(lambda: self.client.delete_logged_model(model))

    def set_alias(self, name: str, alias: str, number: str | None) -> bool:
        """Point an alias at a version, or take it away for None; False where that is so already."""
        now = self.client.get_registered_model(name).aliases.get(alias)
        if (None if now is None else str(now)) == number:
            return False
        if number is None:
            self.client.delete_registered_model_alias(name, alias)
        else:
            self.client.set_registered_model_alias(name, alias, number)
        return True
