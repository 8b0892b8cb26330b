"""The environment that the processes of a deployment share.

What stands under `USUAL` can be set from outside, in the environment of `melo up`; the rest is
decided by the home. What an outer job of Prefect or MLflow left over is not handed on. URLs with
passwords are handed on here, never on a command line.
"""

from __future__ import annotations

import contextlib
import os
from importlib import metadata
from pathlib import Path

from config import Settings
from config.environment import drop_outer_variables, exempt_loopback
from deployment.errors import DeploymentError
from execution.orchestrator import DATABASE

PROJECT = Path(__file__).resolve().parents[1]
USUAL = {
    "MELO_CRON_INGEST": "*/5 * * * *",
    "MELO_CRON_EDIT": "*/30 * * * *",
    "MELO_CRON_AUDIT": "0 3 * * *",
    "MELO_CRON_COMPACT": "0 4 * * 0",
    # A run whose process died says nothing any more: after two minutes its place is free again.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "120",
    # Places that are held outlive the server: in memory they would be lost while still counted.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # 2 + 4 + ... + 128 s: a server that starts again is waited for.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    # Of SQLite on a busy machine, where ten seconds are not enough for a lock to be let go.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "DO_NOT_TRACK": "true",
}


def deployment_file(name: str) -> Path:
    """prefect.yaml or automations.yaml: beside the packages in a checkout, else where pip has put it.

    Raises DeploymentError where it is in neither.
    """
    places = [PROJECT / name, PROJECT / "share" / "melo-pipeline" / name]  # pip install --target
    with contextlib.suppress(metadata.PackageNotFoundError):
        installed = metadata.files("melo-pipeline") or ()
        places += [Path(str(file.locate())) for file in installed if file.name == name]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise DeploymentError(
        f"{name} is neither in {PROJECT} nor among the installed files of melo-pipeline. "
        "Install melo-pipeline again."
    )


def process_environment(settings: Settings, prefect_url: str, mlflow_url: str) -> dict[str, str]:
    """All environment variables of a process of the deployment."""
    inherited = dict(os.environ)
    exempt_loopback(inherited)
    drop_outer_variables(inherited)
    return {
        **USUAL,
        **inherited,
        "MELO_HOME": str(settings.home.absolute()),
        "MELO_PROJECT": str(PROJECT),
        "MELO_GPU_WORKERS": str(settings.workers.gpu),
        "MELO_MLFLOW_PAGE": mlflow_url,
        "MLFLOW_BACKEND_STORE_URI": settings.store_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": settings.paths.artifacts.absolute().as_uri(),
        "PREFECT_HOME": str(settings.paths.prefect),
        "PREFECT_API_URL": f"{prefect_url}/api",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.prefect_database or DATABASE,
        "PREFECT_CLI_PROMPT": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",  # of logs, whatever the terminal takes
    }
