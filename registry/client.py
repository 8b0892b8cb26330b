"""A client of MLflow on the home's store: quiet, and with nothing of an outer job's environment."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import Settings
from config.environment import drop_outer_variables, exempt_loopback
from registry.errors import NoStore, RegistryUnreachable

CONNECTING = 3.0  # seconds
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def open_client(settings: Settings) -> Any:
    """Return an MlflowClient to read with; nothing is created.

    Raises NoStore where the home has no database yet, RegistryUnreachable where the database takes no
    connection: MLflow itself would try again for hours.
    """
    uri = settings.tracking_uri
    file = uri.removeprefix("sqlite:///")
    if file != uri and not Path(file).is_file():
        raise NoStore(
            f"MLflow's store {file} is not there. It is made when the first version is registered."
        )
    if uri.startswith("postgresql"):
        _connect(uri)
    return import_mlflow().MlflowClient(tracking_uri=uri, registry_uri=uri)


def import_mlflow() -> Any:
    """Import mlflow without its telemetry and its notes on the terminal; returns the module.

    What an outer job's environment says of runs and stores is not taken over.
    """
    exempt_loopback(os.environ)
    drop_outer_variables(os.environ, prefect=False)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def _connect(uri: str) -> None:
    address = urlsplit(uri)
    place = (address.hostname or "127.0.0.1", address.port or 5432)
    try:
        socket.create_connection(place, timeout=CONNECTING).close()
    except OSError as error:
        raise RegistryUnreachable(str(error)) from None
