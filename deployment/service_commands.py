"""The command line of each service of a home."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from config import Settings
from deployment.service import SUPERVISOR


def service_commands(
    settings: Settings, ports: Mapping[str, int], *, mlflow: bool
) -> dict[str, list[str]]:
    """Command of each service, servers first, the supervisor last.

    ports: of Prefect, MLflow, the service and the pages. mlflow: whether its server is started here.
    """
    python, home = sys.executable, str(settings.home.absolute())
    at = {name: str(port) for name, port in ports.items()}
    prefect = "-m prefect server start --host 127.0.0.1 --port"
    commands = {"prefect": [python, *prefect.split(), at["prefect"]]}
    if mlflow:
        server = "-m mlflow server --host 127.0.0.1 --workers 1 --port"
        commands["mlflow"] = [python, *server.split(), at["mlflow"]]
    commands["cpu"] = _worker("cpu", "cpu")
    for number in range(1, settings.workers.gpu + 1):
        commands[f"gpu-{number}"] = [*_worker("gpu", f"gpu-{number}"), "--limit", "1"]
    commands["inbox"] = [python, "-m", "tasks.watch", home]
    melo = [python, "-m", "cli.main", "--home", home]
    if settings.up.serve and settings.backbone.path is not None:
        serve = "serve --host 127.0.0.1 --keys-later --port"
        commands["serve"] = [*melo, *serve.split(), at["serve"]]
    if settings.up.dashboard:
        commands["dashboard"] = [*melo, "dashboard", "--port", at["dashboard"]]
    commands[SUPERVISOR] = [python, "-m", "deployment.supervisor", home, *at.values()]
    return commands


def _worker(pool: str, name: str) -> list[str]:
    start = [sys.executable, "-m", "deployment.worker", "--pool", pool]
    return [*start, "--type", "process", "--name", f"melo-{name}"]
