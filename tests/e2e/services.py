"""`melo up` and `melo down` as a user calls them, for tests with real servers and workers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config import Settings

ROOT = Path(__file__).parents[2]
PATIENCE = 420.0  # seconds for what takes some thirty on a machine that is not busy
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
OFTEN = {
    "MELO_CRON_INGEST": "* * * * *",
    "MELO_CRON_EDIT": "* * * * * */30",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT3M",
}
WITHOUT_PAGES = "serve = false\ndashboard = false\n"  # tests/deployment/test_services.py has these


def melo(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "--home", str(home.home), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**CLEAN, **OFTEN},
        cwd=ROOT,
    )


@contextlib.contextmanager
def up(
    home: Settings, more: str = "", without: str = WITHOUT_PAGES
) -> Iterator[dict[str, dict[str, Any]]]:
    """Everything up on free ports; each service as `melo up` tells of it.

    more: for melo.toml. without: what is not started, as `[up]` has it.
    """
    with (home.home / "melo.toml").open("a", encoding="utf-8") as file:
        file.write(f"{more}\n[up]\n{without}")
    names = ("prefect", "mlflow", "serve", "dashboard")
    ports = [part for name in names for part in (f"--{name}-port", str(free_port()))]
    done = melo(home, "up", "--json", *ports)
    try:
        assert done.returncode == 0, done.stderr + logs(home)
        yield {service["name"]: service for service in json.loads(done.stdout)}
    finally:
        assert melo(home, "down").returncode == 0


def until(what: Callable[[], Any]) -> Any:
    """Wait for something to be so; its value, or the last one where patience ran out."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def logs(home: Settings) -> str:
    """The end of every log, for a test that fails."""
    return "\n".join(
        f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}"
        for log in (home.home / "logs").glob("*.log")
    )
