"""A deployment of its own for a benchmark: a home, its servers and workers, on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from config import Settings
from deployment.service import Service
from deployment.services import Services
from execution.ports import free_port
from ledger import Ledger

PROJECT = Path(__file__).resolve().parents[1]
OFTEN = {  # schedules of seconds, where the last of six places is the second
    "MELO_CRON_INGEST": "* * * * * */20",
    "MELO_CRON_EDIT": "* * * * * 10,30,50",
    # Runs are made so far ahead, not for the hour that fits schedules of minutes.
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT2M",
}
QUICK = {"PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60"}
SILENCE = 600.0  # seconds that a server may say nothing
WITHOUT_PAGES = {"MELO_UP__SERVE": "false", "MELO_UP__DASHBOARD": "false"}


class Deployment:
    """What `melo up` started in a home, to be watched and hurt."""

    def __init__(self, settings: Settings, prefect_port: int, mlflow_port: int) -> None:
        self.settings = settings
        self.services = Services(settings, prefect_port=prefect_port, mlflow_port=mlflow_port)
        self.ledger = Ledger.open(
            settings.paths.ledger, timeout=300, read_copy=settings.paths.read_ledger
        )

    @property
    def api(self) -> str:
        """Of the Prefect server."""
        return f"{self.services.prefect_url}/api"

    def service(self, name: str) -> Service:
        """One service as it is now; the supervisor may have started it again."""
        return next(service for service in self.services.recorded() if service.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL a service, and what it started."""
        self.service(name).kill()

    def runs(self, flow: str | None = None) -> list[dict[str, Any]]:
        """Flow runs that are no longer just scheduled, newest first."""
        runs: list[dict[str, Any]] = []
        begun = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
        wanted: dict[str, Any] = {
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": 200,
            "flow_runs": begun,
        }
        if flow:
            wanted["flows"] = {"name": {"any_": [flow]}}
        while True:
            page = self._post("flow_runs/filter", {**wanted, "offset": len(runs)})
            runs += page
            if len(page) < wanted["limit"]:
                return runs

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The server's answer; tried again while it is too busy or has just been restarted."""
        deadline = time.monotonic() + SILENCE
        while True:
            try:
                return (
                    httpx.post(f"{self.api}/{path}", json=body, timeout=60)
                    .raise_for_status()
                    .json()
                )
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def memory(self, name: str) -> int:
        """Bytes that a service itself holds, without what it started."""
        process = self.service(name).process()
        return int(process.memory_info().rss) if process else 0


@contextlib.contextmanager
def deployed(
    settings: Settings,
    *,
    ports: tuple[int, int] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Deployment]:
    """A deployment in a home, ended when the block ends, whatever happened in it.

    ports: of Prefect and MLflow, free ones where none are given.
    """
    ports = ports or (free_port(), free_port())
    env = {**clean_environment(), **OFTEN, **QUICK, **WITHOUT_PAGES, **(environment or {})}
    command = [sys.executable, "-m", "cli.main", "--home", str(settings.home)]
    up = [*command, "up", "--json", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    try:
        done = subprocess.run(up, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"`melo up` failed: {done.stderr[-500:]}")
        yield Deployment(settings, *ports)
    finally:
        subprocess.run([*command, "down"], cwd=PROJECT, env=env, capture_output=True, check=False)


def until(what: Callable[[], Any], *, patience: float, every: float = 0.5) -> Any:
    """Wait for something to be so; its value, or the last one where patience ran out."""
    deadline = time.monotonic() + patience
    while not (value := what()) and time.monotonic() < deadline:
        time.sleep(every)
    return value


def as_json(settings: Settings, *arguments: str) -> Any:
    """What a command prints with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "--home", str(settings.home), *arguments, "--json"],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def clean_environment() -> dict[str, str]:
    """The environment without anybody's settings; models that were fetched stay where they are."""
    away = ("PREFECT", "MLFLOW", "MELO")
    return {k: v for k, v in os.environ.items() if not k.startswith(away) or k == "MELO_CACHE"}
