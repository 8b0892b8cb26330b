"""Real runs in the surroundings of real machines: proxies, dead servers, leftovers, odd paths."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings, load
from deployment.service import Service
from deployment.services import Services
from tests.conftest import report, write_lines

MELO = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).parents[2]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
DEAD = "http://127.0.0.1:9"
PROXIES = {
    "http_proxy": DEAD,
    "HTTPS_PROXY": DEAD,
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "internal.example,10.0.0.0/8",
}
LEFTOVERS = {
    "MLFLOW_RUN_ID": "abc",
    "MLFLOW_EXPERIMENT_ID": "77",
    "MLFLOW_TRACKING_URI": DEAD,
    "MLFLOW_REGISTRY_URI": DEAD,
    "PREFECT_API_URL": "http://someone:secret@127.0.0.1:9/api",
    "PREFECT_API_KEY": "old",
    "PREFECT_HOME": "/nonexistent/prefect",
    "PREFECT_PROFILE": "theirs",
    "PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000000",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nonexistent/p.db",
}


def melo(
    home: Path, *arguments: str, cwd: Path = ROOT, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MELO, "--home", str(home), *arguments],
        env={**CLEAN, "PYTHONPATH": str(ROOT), **more},
        cwd=cwd,
        text=True,
        capture_output=True,
        check=False,
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said beside the lines of progress, which carry the seconds since the start."""
    lines = done.stderr.splitlines()
    return [line for line in lines if not re.match(r" *\d+ s  ", line)]


def promotes(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["counts"] == {"active": 1}
    assert told["champion"] == told["verdicts"][0]["version"]


@pytest.mark.slow
def test_a_run_goes_past_every_proxy(home: Settings, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    done = melo(home.home, "run", str(path), "--json", **PROXIES)
    promotes(done)
    assert complaints(done) == []


@pytest.mark.slow
def test_a_run_takes_nothing_over_from_an_outer_job(home: Settings, tmp_path: Path) -> None:
    """Nor from settings of Prefect in the folder where it is started."""
    (tmp_path / ".env").write_text(f"PREFECT_API_URL={DEAD}/api\n")
    (tmp_path / "prefect.toml").write_text('[server.database]\nconnection_url = "postgresql://x"\n')
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    done = melo(home.home, "run", str(path), "--json", cwd=tmp_path, **LEFTOVERS)
    promotes(done)
    assert complaints(done) == [
        "melo: no Prefect server answers at PREFECT_API_URL, 127.0.0.1:9/api; this run has one of "
        "its own."
    ]
    assert (home.home / "prefect" / "prefect.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b#c", "100%41 é", 'it\'s "here"; ok&x=1'])
def test_a_home_of_any_name_keeps_everything_in_itself(
    home: Settings, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "odd" / name
    shutil.copytree(home.home, place)
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    promotes(melo(place, "run", str(path), "--json"))
    assert [entry.name for entry in (tmp_path / "odd").iterdir()] == [name]
    assert (place / "prefect" / "prefect.db").exists()
    assert (place / "mlflow.db").exists()


@pytest.fixture
def healthy() -> Iterator[int]:
    """A server that says that it is well; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_whether_a_service_is_well_is_asked_past_a_proxy(
    healthy: int, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(proxy, "socks5://127.0.0.1:9" if proxy == "ALL_PROXY" else DEAD)
    service = Service("mlflow", 1, 0.0, f"http://127.0.0.1:{healthy}", "")
    assert service.answers(5.0)


def test_what_services_are_told_is_of_this_home_and_past_proxies(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    for name, value in {**PROXIES, **LEFTOVERS, "PYTHONIOENCODING": "ascii"}.items():
        monkeypatch.setenv(name, value)
    told = Services(load(home.home), prefect_port=4201).environment()
    assert told["no_proxy"] == told["NO_PROXY"]
    assert told["NO_PROXY"] == "internal.example,10.0.0.0/8,localhost,127.0.0.1,::1"
    assert told["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
    assert told["PREFECT_HOME"] == str(home.home / "prefect")
    assert told["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "sqlite+aiosqlite:///prefect.db"
    assert told["PYTHONIOENCODING"] == "utf-8"
    gone = {"MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "PREFECT_PROFILE", "ALL_PROXY"}
    assert gone.isdisjoint(told)
