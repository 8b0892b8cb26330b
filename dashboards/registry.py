"""What MLflow says, read only through its client: runs, model versions, aliases, pages to link to.

The tracking URI is the home's: its SQLite file, or a server. Nothing is created: a store that is
not there is `RegistryAway`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import Settings
from dashboards.errors import RegistryAway

HASH_TAG = "melo.content_hash"
CONNECTING = 3.0  # seconds
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


@dataclass(frozen=True)
class Registered:
    """One version as MLflow knows it."""

    model: str
    number: str
    run: str
    experiment: str
    status: str
    aliases: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


def registered(settings: Settings, version: str) -> Registered | None:
    """The model version of this content, None where it was never logged. Raises RegistryAway."""
    client = _client(settings)
    try:
        found = client.search_model_versions(f"tags.`{HASH_TAG}` = '{version}'", max_results=1)
        if not found:
            return None
        model = client.get_model_version(found[0].name, found[0].version)
        run = client.get_run(model.run_id)
        return Registered(
            model.name, str(model.version), model.run_id, run.info.experiment_id, model.status,
            tuple(sorted(model.aliases)), dict(run.data.metrics), dict(run.data.params),
        )  # fmt: skip
    except Exception as error:
        raise RegistryAway(_said(settings, error)) from None


def champion_hash(settings: Settings) -> str | None:
    """The content hash that the alias `champion` stands for, None where it is unset.

    Where several backbones have one, the model version that was logged last. Raises RegistryAway.
    """
    client = _client(settings)
    try:
        found = []
        for model in client.search_registered_models():
            if number := model.aliases.get("champion"):
                found.append(client.get_model_version(model.name, number))
        newest = max(found, key=lambda v: v.creation_timestamp, default=None)
        return None if newest is None else str(newest.tags.get(HASH_TAG))
    except Exception as error:
        raise RegistryAway(_said(settings, error)) from None


def links(settings: Settings) -> dict[str, str]:
    """Where the pages of `mlflow` and `prefect` are: servers of `melo up`, or a tracking server."""
    found: dict[str, str] = {}
    try:
        text = (settings.home / "run" / "services.json").read_text(encoding="utf-8")
        found = {s["name"]: s["url"] for s in json.loads(text) if s.get("url")}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    if settings.tracking_uri.startswith("http"):
        found["mlflow"] = _without_secrets(settings.tracking_uri).rstrip("/")
    return {name: url for name, url in found.items() if name in ("mlflow", "prefect")}


def _client(settings: Settings) -> Any:
    uri = settings.tracking_uri
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise RegistryAway(
            f"MLflow's store {uri.removeprefix('sqlite:///')} is not there. It is made when the "
            "first version is registered."
        )
    if uri.startswith("postgresql"):
        _answers(settings, uri)
    for name, value in {**PATIENCE, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true",
                        "GIT_PYTHON_REFRESH": "quiet"}.items():  # fmt: skip
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:
        raise RegistryAway(_said(settings, error)) from None


def _answers(settings: Settings, uri: str) -> None:
    """Whether a database takes connections: MLflow itself would try again for hours."""
    address = urlsplit(uri)
    place = (address.hostname or "127.0.0.1", address.port or 5432)
    try:
        socket.create_connection(place, timeout=CONNECTING).close()
    except OSError as error:
        raise RegistryAway(_said(settings, error)) from None


def _said(settings: Settings, error: Exception) -> str:
    said = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return _without_secrets(f"MLflow at {settings.tracking_uri} can't be read: {said}")


def _without_secrets(text: str) -> str:
    """A text whose addresses have lost user and password: whoever sees the pages may read it."""
    return re.sub(r"://[^/@\s]*@", "://", text)
