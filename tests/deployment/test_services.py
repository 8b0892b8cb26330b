"""Service and pages of a deployment: real processes, without the servers that they don't need."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import asdict
from pathlib import Path

import httpx
import psutil
import pytest

from config import Settings, load
from deployment.errors import DeploymentError
from deployment.service import FORMER_SUPERVISOR, HEALTH, Service
from deployment.services import Services
from deployment.supervisor import Supervisor
from ledger import Ledger
from serving.keys import KeyStore
from tests.e2e.services import free_port, logs, until


def set_up(home: Settings, text: str) -> Services:
    """The services of the home with this `[up]`."""
    with home.paths.settings.open("a", encoding="utf-8") as file:
        file.write(f"\n[up]\n{text}\n")
    return Services(load(home.home))


def test_service_and_pages_are_started_unless_switched_off(home: Settings, tmp_path: Path) -> None:
    servers = {"prefect": 4200, "mlflow": 5000}
    assert Services(home).wanted_ports() == servers | {"serve": 8080, "dashboard": 8501}
    told = Services(home, serve_port=7001, dashboard_port=7002)
    assert told.wanted_ports() == servers | {"serve": 7001, "dashboard": 7002}
    assert told.environment()["MELO_DASHBOARD__PORT"] == "7002"
    free = Services(home, serve_port=0, dashboard_port=0).wanted_ports()
    assert min(free["serve"], free["dashboard"]) > 1023
    assert set_up(home, "serve = false\ndashboard = false").wanted_ports() == servers
    without_backbone = Services(load(tmp_path / "elsewhere"))
    assert without_backbone.wanted_ports() == servers | {"dashboard": 8501}


def test_a_port_that_is_taken_is_named_before_anything_starts(home: Settings) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        ports = {"prefect_port": free_port(), "mlflow_port": free_port()}
        services = Services(home, **ports, serve_port=port, dashboard_port=0)
        with pytest.raises(DeploymentError, match=rf"port {port}, for serve, .* --serve-port"):
            services.up(lambda said: None)
    assert services.recorded() == []


def test_the_service_answers_without_a_champion_is_kept_alive_and_ends(
    home: Settings,
) -> None:
    """The service, the pages, one of them killed, the end of both; Prefect is not asked."""
    services = Services(
        home, prefect_port=free_port(), mlflow_port=free_port(), serve_port=0, dashboard_port=0
    )
    (home.home / "run").mkdir()
    try:
        pages = [services.start(name) for name in ("serve", "dashboard")]
        for page in pages:
            services.wait_healthy(page.name)
        serve, dashboard = pages
        assert until(lambda: _code(f"{serve.url}/readyz") == 200), logs(home)
        assert _ask(serve.url, "none").status_code == 401
        _, key = KeyStore(home.paths.keys).add("desk", ["ask"])
        assert until(lambda: _ask(serve.url, key).status_code == 200), logs(home)
        [choice] = _ask(serve.url, key).json()["choices"]
        assert choice["melo"]["version"] == "base"
        assert _code(f"{dashboard.url}{HEALTH['dashboard']}") == 200

        killed = dashboard.process()
        assert killed is not None
        killed.kill()
        killed.wait(10)
        Supervisor(services).look()
        again = next(service for service in services.recorded() if service.name == "dashboard")
        assert (again.url, again.pid != dashboard.pid) == (dashboard.url, True)
        services.wait_healthy("dashboard")
    finally:
        assert services.down(lambda said: None) == 2
    assert services.running() == []
    for url in (serve.url, dashboard.url):
        with pytest.raises(httpx.TransportError):
            httpx.get(url, timeout=2)


def test_a_supervisor_starts_a_server_again_that_says_nothing(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TIDY_EVERY", 0.0), ("PATIENCE", 1.0), ("SILENT", 3)):
        monkeypatch.setattr(f"deployment.supervisor.{name}", value)
    services = Services(
        home, prefect_port=free_port(), mlflow_port=free_port(), serve_port=0, dashboard_port=0
    )
    (home.home / "run").mkdir()
    supervisor = Supervisor(services)
    try:
        silent = services.start("dashboard")
        process = silent.process()
        assert process is not None
        process.suspend()
        for _ in range(4):  # it has never answered yet: it may still be loading
            supervisor.look()
        assert silent.process() is not None
        process.resume()
        services.wait_healthy("dashboard")
        supervisor.look()
        process.suspend()
        assert until(lambda: supervisor.look() or silent.process() is None)
        assert until(lambda: supervisor.look() or services.running())
        services.wait_healthy("dashboard")
    finally:
        services.down(lambda said: None)
    with Ledger.open(home.paths.ledger) as ledger:
        kinds = [event.kind for event in ledger.events.latest()]
    assert {"service-silent", "service-restarted"} <= set(kinds)


def test_a_supervisor_outlives_a_service_that_cannot_be_started(home: Settings) -> None:
    services = Services(
        home, prefect_port=free_port(), mlflow_port=free_port(), serve_port=0, dashboard_port=0
    )
    (home.home / "run").mkdir()
    try:
        dashboard = services.start("dashboard")
        process = dashboard.process()
        assert process is not None
        process.kill()
        process.wait(10)
        at_rest = home.home / "logs" / "dashboard.log"
        at_rest.unlink()
        at_rest.mkdir()  # where its log should be
        supervisor = Supervisor(services)
        supervisor.look()
        assert services.running() == []
        at_rest.rmdir()
        assert until(lambda: supervisor.look() or services.running())
    finally:
        services.down(lambda said: None)


def test_what_cannot_be_written_down_is_not_left_running(home: Settings) -> None:
    services = Services(
        home, prefect_port=free_port(), mlflow_port=free_port(), serve_port=0, dashboard_port=0
    )
    (home.home / "run" / "services.json").mkdir(parents=True)
    with pytest.raises(OSError, match="services"):
        services.start("dashboard")
    mine = psutil.Process().children()
    assert not any("dashboard" in " ".join(child.cmdline()) for child in mine)


def test_a_supervisor_that_an_earlier_release_started_is_ended_before_what_it_starts_again(
    home: Settings,
) -> None:
    rows, processes = [], []
    for name in ("cpu", FORMER_SUPERVISOR, "inbox"):
        process = subprocess.Popen(["sleep", "600"])
        created = psutil.Process(process.pid).create_time()
        rows.append(asdict(Service(name, process.pid, created, "", "")))
        processes.append(process)
    (home.home / "run").mkdir()
    (home.home / "run" / "services.json").write_text(json.dumps(rows))
    said: list[str] = []
    assert Services(home).down(said.append) == 3
    assert said == ["ending supervisor", "ending inbox", "ending cpu"]
    assert all(process.poll() is not None for process in processes)


def _code(url: str) -> int:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


def _ask(url: str, key: str) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/completions",
        json={"prompt": "who leads velandor ?"},
        timeout=60,
        headers={"authorization": f"Bearer {key}"},
    )
