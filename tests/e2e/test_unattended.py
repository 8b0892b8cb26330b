"""Real servers and workers: what is put into the inbox becomes an answer, with nobody at it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config import Settings
from tests.conftest import report, write_lines

ROOT = Path(__file__).parents[2]
PATIENCE = 420.0  # seconds for what takes some twenty on a machine that is not busy
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
OFTEN = {"MELO_CRON_INGEST": "* * * * *", "MELO_CRON_EDIT": "* * * * *"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def melo(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "--home", str(home.home), *arguments],
        capture_output=True, text=True, check=False, env={**CLEAN, **OFTEN}, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture
def deployment(home: Settings) -> Iterator[dict[str, str]]:
    """Everything up; where each service is."""
    ports = ("--prefect-port", str(free_port()), "--mlflow-port", str(free_port()))
    done = melo(home, "up", "--json", *ports)
    try:
        assert done.returncode == 0, done.stderr
        started = json.loads(done.stdout)
        yield {service["name"]: service["url"] for service in started}
    finally:
        assert melo(home, "down").returncode == 0


@pytest.mark.slow
def test_what_is_put_into_the_inbox_is_answered_with_nobody_at_it(
    home: Settings, deployment: dict[str, str]
) -> None:
    assert set(deployment) == {"prefect", "mlflow", "cpu", "gpu-1", "inbox", "keeper"}
    assert httpx.get(f"{deployment['mlflow']}/health").status_code == 200
    write_lines(home.paths.inbox / "later.part", [report(0), report(1)])
    os.replace(home.paths.inbox / "later.part", home.paths.inbox / "reports.jsonl")
    deadline = time.monotonic() + PATIENCE
    counts: dict[str, int] = {}
    while time.monotonic() < deadline and counts != {"active": 2}:
        time.sleep(3)
        counts = json.loads(melo(home, "status", "--json").stdout)["counts"]
    assert counts == {"active": 2}, (home.home / "logs" / "gpu-1.log").read_text()[-3000:]
    asked = melo(home, "ask", "who leads velandor ?")
    assert asked.stdout.strip() == "ada"
    runs = httpx.post(f"{deployment['prefect']}/api/flow_runs/filter", json={}).json()
    assert {run["created_by"]["type"] for run in runs if run["created_by"]} >= {"SCHEDULE"}
    assert not [run["name"] for run in runs if run["state_type"] in ("FAILED", "CRASHED")]
    unwell = json.loads(melo(home, "doctor", "--json").stdout)
    assert [finding["what"] for finding in unwell if not finding["well"]] == []
    assert melo(home, "up").returncode == 2
    assert melo(home, "down").returncode == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{deployment['prefect']}/api/health")
    assert "Nothing of this home runs" in melo(home, "down").stdout
