"""Real servers and workers: what is put into the inbox becomes an answer, with nobody at it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.deployment import Deployment
from benchmarks.fault_injection import Missed, in_training
from config import Settings
from execution.context import open_ledger
from ledger import Ledger
from tests.conftest import report, write_lines
from tests.e2e.services import logs, melo, until, up

SECRET = "9f8e7d6c5b4a"
# Training that takes a thousand steps and more, so that a kill can hit it.
SLOWLY = """\
[edit]
learning_rate = 0.0001
max_steps = 20000
"""
MORE = """
[workers]
gpu = 2
shard_edits = 2

[alerts]
webhook_url = "http://127.0.0.1:{port}/{secret}"
backlog_hours = 0.000001
no_run_hours = 0.003
"""


@pytest.fixture
def posts() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Somebody's webhook: its port, and what was posted to the secret place."""
    got: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == f"/{SECRET}":
                got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, got
    server.shutdown()
    server.server_close()


@pytest.fixture
def deployment(
    home: Settings, posts: tuple[int, list[dict[str, Any]]]
) -> Iterator[dict[str, dict[str, Any]]]:
    toml = home.home / "melo.toml"
    toml.write_text(toml.read_text().replace("[edit]", SLOWLY, 1))
    with up(home, MORE.format(port=posts[0], secret=SECRET)) as services:
        yield services


@pytest.mark.slow
def test_a_deployment_runs_by_itself_tells_what_it_does_and_survives_a_kill(
    home: Settings,
    deployment: dict[str, dict[str, Any]],
    posts: tuple[int, list[dict[str, Any]]],
) -> None:
    services = {"prefect", "mlflow", "cpu", "gpu-1", "gpu-2", "inbox", "supervisor"}
    assert set(deployment) == services
    ledger = open_ledger(home)
    probe: dict[str, object] = {"prompt": "who leads quinomire ?", "expect": "unchanged"}
    write_lines(home.home / "suites" / "guarded.jsonl", [probe])
    _put(home, "reports", [report(i, urgent=True) for i in range(4)])
    wanted = {"active": 3, "rejected": 1}
    assert until(lambda: ledger.counts().counts == wanted), logs(home)
    asked = melo(home, "ask", "who leads velandor ?")
    assert asked.stdout.strip() == "ada"

    api = f"{deployment['prefect']['url']}/api"
    _a_killed_worker_costs_nothing(home, deployment, ledger)
    told = {"promoted", "rejected", "backlog", "no-run"}
    names = {f"melo-alert-{alert}" for alert in told}
    assert until(lambda: {post["alert"] for post in posts[1]} >= names), posts[1]
    assert {post["home"] for post in posts[1]} == {str(home.home)}
    assert until(lambda: _ended_on_schedule(api)), logs(home)
    runs = httpx.post(f"{api}/flow_runs/filter", json={}).json()
    shared = [run for run in runs if run["parameters"].get("shards") == [1]]
    assert [run["state_type"] for run in shared] == ["COMPLETED"], "no shard went to gpu-2"
    assert not [run["name"] for run in runs if run["state_type"] == "FAILED"]
    _shows_links_to_mlflow(api, deployment["mlflow"]["url"])
    _keeps_the_secret(home, api, runs)

    found = json.loads(melo(home, "doctor", "--json").stdout)
    assert [finding["what"] for finding in found if not finding["well"]] == []
    assert melo(home, "up").returncode == 2
    assert melo(home, "down").returncode == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{api}/health")
    assert "Nothing of this home runs" in melo(home, "down").stdout


def _a_killed_worker_costs_nothing(
    home: Settings, deployment: dict[str, dict[str, Any]], ledger: Ledger
) -> None:
    """SIGKILL of both gpu workers in the middle of a job; nobody does anything about it."""
    ports = [int(deployment[name]["url"].rpartition(":")[2]) for name in ("prefect", "mlflow")]
    hurt = Deployment(home, *ports)
    for number in (4, 5, 6):
        wanted = {"active": number, "rejected": 1}
        try:
            in_training(hurt, lambda n=number: _put(home, f"more-{n}", [report(n, urgent=True)]))
        except Missed:  # training that was over at once is no proof
            assert until(partial(_has, ledger, wanted)), logs(home)
            continue
        break
    else:
        pytest.fail("no worker was ever hit in training")
    assert until(partial(_has, ledger, wanted)), logs(home)
    assert ledger.audit() == []
    assert {s.name for s in hurt.services.running()} == set(deployment)
    states = [run["state_type"] for run in hurt.runs("edit")]
    assert "CRASHED" in states, "the run that was killed is left as running"


def _has(ledger: Ledger, wanted: dict[str, int]) -> bool:
    return bool(ledger.counts().counts == wanted)


def _put(home: Settings, name: str, rows: list[dict[str, object]]) -> int:
    write_lines(home.paths.inbox / f"{name}.part", rows)
    os.replace(home.paths.inbox / f"{name}.part", home.paths.inbox / f"{name}.jsonl")
    return len(rows)


def _ended_on_schedule(api: str) -> bool:
    wanted = {
        "flows": {"name": {"any_": ["edit"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    runs = httpx.post(f"{api}/flow_runs/filter", json=wanted).json()
    return any((run["created_by"] or {}).get("type") == "SCHEDULE" for run in runs)


def _shows_links_to_mlflow(api: str, page: str) -> None:
    found = httpx.post(f"{api}/artifacts/filter", json={}).json()
    links = [artifact["data"] for artifact in found if artifact["key"].startswith("mlflow-")]
    assert links
    assert all(f"{page}/#/models/" in link for link in links)
    assert any(artifact["key"].startswith("verdict-") for artifact in found)


def _keeps_the_secret(home: Settings, api: str, runs: list[dict[str, Any]]) -> None:
    """Nowhere but in the home's settings and, obfuscated, in the block of the server."""
    assert SECRET not in json.dumps(runs)
    said = httpx.post(f"{api}/logs/filter", json={"limit": 200}).text
    blocks = httpx.post(f"{api}/block_documents/filter", json={}).text
    assert SECRET not in said + blocks
    for log in (home.home / "logs").glob("*.log"):
        assert SECRET not in log.read_text(errors="replace"), log.name
    for process in psutil.process_iter(["cmdline"]):
        assert SECRET not in " ".join(process.info["cmdline"] or ())
