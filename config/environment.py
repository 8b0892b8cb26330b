"""Environment variables that others have set: proxies, and what an outer job left over.

    exempt_loopback       requests to this machine never go through a proxy; all others still do
    drop_outer_variables  MLFLOW_ and PREFECT_ variables that say how to reach a server stay; those that
                          name a run, experiment, store or profile of an outer job go

Both change a mapping: the `os.environ` of this process, or the environment of a child.
"""

from __future__ import annotations

import importlib.util
from collections.abc import MutableMapping

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")

# How a server is reached, and how patiently.
KEPT_OF_MLFLOW = tuple(
    (
        "MLFLOW_HTTP_REQUEST_ MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD "
        "MLFLOW_TRACKING_TOKEN MLFLOW_TRACKING_AUTH MLFLOW_TRACKING_AWS_SIGV4 "
        "MLFLOW_TRACKING_INSECURE_TLS MLFLOW_TRACKING_SERVER_CERT_PATH "
        "MLFLOW_TRACKING_CLIENT_CERT_PATH MLFLOW_S3_ MLFLOW_BOTO_ MLFLOW_GCS_ "
        "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT MLFLOW_ENABLE_MULTIPART_ "
        "MLFLOW_ENABLE_PROXY_MULTIPART_ MLFLOW_SERVER_ MLFLOW_FLASK_SERVER_SECRET_KEY "
        "MLFLOW_SQLALCHEMYSTORE_ MLFLOW_DISABLE_TELEMETRY"
    ).split()
)
KEPT_OF_PREFECT = tuple(
    (
        "PREFECT_API_URL PREFECT_API_KEY PREFECT_API_AUTH_STRING PREFECT_API_TLS_ "
        "PREFECT_API_SSL_ PREFECT_API_REQUEST_TIMEOUT PREFECT_API_ENABLE_HTTP2 PREFECT_CLIENT_ "
        "PREFECT_CLI_ PREFECT_CLOUD_ PREFECT_LOGGING_ PREFECT_WORKER_ PREFECT_FLOWS_HEARTBEAT_ "
        "PREFECT_SERVER_ANALYTICS_ PREFECT_SERVER_CONCURRENCY_ PREFECT_SERVER_DATABASE_TIMEOUT "
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT PREFECT_SERVER_EPHEMERAL_ "
        "PREFECT_SERVER_LOGGING_ PREFECT_SERVER_SERVICES_"
    ).split()
)


def exempt_loopback(environment: MutableMapping[str, str]) -> None:
    """Let requests to this machine go past every proxy; what is exempt already stays exempt.

    A SOCKS proxy that no library here can speak to would fail every client, also on loopback: it is
    left out.
    """
    spelled = [environment.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    names = [part.strip() for text in spelled for part in text.split(",") if part.strip()]
    excepted = ",".join(dict.fromkeys([*names, *LOOPBACK]))
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = "*" if "*" in names else excepted
    if importlib.util.find_spec("socksio") is None:
        for name in (*PROXIES, *(name.upper() for name in PROXIES)):
            if environment.get(name, "").lower().startswith("socks"):
                del environment[name]


def drop_outer_variables(environment: MutableMapping[str, str], *, prefect: bool = True) -> None:
    """Forget what an outer job of MLflow or Prefect said about itself.

    prefect: False within a run of Prefect's own, which knows itself by these variables.
    """
    for name in list(environment):
        foreign = name.startswith(("MLFLOW_", "_MLFLOW_")) and not name.startswith(KEPT_OF_MLFLOW)
        if prefect and name.startswith("PREFECT_"):
            foreign = not name.startswith(KEPT_OF_PREFECT)
        if foreign:
            del environment[name]
