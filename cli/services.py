"""The processes of one deployment on one machine: start them, watch them, end exactly those.

    prefect   server, scheduler, triggers      cpu, gpu   workers of the two pools
    mlflow    registry to look at              inbox      tells Prefect of files that arrive

Who runs is written to HOME/run/services.json: process id and start time, so that a number that the
system has given to somebody else meanwhile is never taken for ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from cli.errors import UsageProblem
from config import Settings

PROJECT = Path(__file__).resolve().parents[1]
CRONS = {
    "MELO_CRON_INGEST": "*/5 * * * *",
    "MELO_CRON_EDIT": "*/30 * * * *",
    "MELO_CRON_AUDIT": "0 3 * * *",
    "MELO_CRON_COMPACT": "0 4 * * 0",
}
WAIT = 180.0  # seconds for a server to be healthy
GRACE = 20.0  # seconds for a process to end by itself


@dataclass(frozen=True)
class Service:
    """One process that was started here. created: its start time, as the system tells it."""

    name: str
    pid: int
    created: float
    url: str
    log: str

    def process(self) -> psutil.Process | None:
        """The process, None where it has ended."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 1.0
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Services:
    """The services of one home."""

    def __init__(self, settings: Settings, *, prefect_port: int = 4200, mlflow_port: int = 5000):
        self.settings = settings
        self.home = settings.home.absolute()
        self.prefect_url = f"http://127.0.0.1:{prefect_port}"
        self.mlflow_url = f"http://127.0.0.1:{mlflow_port}"
        self._state = self.home / "run" / "services.json"

    def known(self) -> list[Service]:
        """What was started and not ended yet, dead or alive."""
        try:
            rows = json.loads(self._state.read_text(encoding="utf-8"))
            return [Service(**row) for row in rows]
        except (OSError, ValueError, TypeError):
            return []

    def running(self) -> list[Service]:
        """Those that live."""
        return [service for service in self.known() if service.process() is not None]

    def up(self, say: Callable[[str], None]) -> list[Service]:
        """Start everything, apply the deployments, return when all is healthy.

        Raises UsageProblem where something runs already or does not come up; what was started is
        ended again then.
        """
        if self.running():
            names = ", ".join(service.name for service in self.running())
            raise UsageProblem(f"{names} of {self.home} run already. End them with `melo down`.")
        (self.home / "run").mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)
        try:
            self._start_servers(say)
            self._deploy(say)
            for pool in ("cpu", "gpu"):
                self._start(pool, _worker(pool), "")
            self._start("inbox", [sys.executable, "-m", "tasks.watch", str(self.home)], "")
            self._all_alive()
        except BaseException:
            self.down(say)
            raise
        return self.known()

    def down(self, say: Callable[[str], None]) -> int:
        """End what was started here, workers first; how many were running."""
        ended = 0
        for service in reversed(self.known()):
            process = service.process()
            if process is None:
                continue
            say(f"ending {service.name}")
            _end(process)
            ended += 1
        self._state.unlink(missing_ok=True)
        return ended

    def environment(self) -> dict[str, str]:
        """What every process of the deployment is told."""
        told = {
            **CRONS,
            **os.environ,
            "MELO_HOME": str(self.home),
            "MELO_PROJECT": str(PROJECT),
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PYTHONUNBUFFERED": "1",
        }
        if self.settings.prefect.database_url:
            told["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self.settings.prefect.database_url
        return told

    def _start_servers(self, say: Callable[[str], None]) -> None:
        say("starting the Prefect server")
        port = self.prefect_url.rsplit(":", 1)[1]
        prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        self._start("prefect", [*prefect, "--port", port], self.prefect_url)
        say("starting the MLflow server")
        port = self.mlflow_url.rsplit(":", 1)[1]
        store = self.settings.tracking_uri
        self._start(
            "mlflow",
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port,
             "--backend-store-uri", store, "--workers", "1",
             "--default-artifact-root", self.settings.paths.artifacts.absolute().as_uri()],
            self.mlflow_url,
        )  # fmt: skip
        self._healthy("prefect", f"{self.prefect_url}/api/health")
        self._healthy("mlflow", f"{self.mlflow_url}/health")

    def _deploy(self, say: Callable[[str], None]) -> None:
        say("applying prefect.yaml")
        for pool in ("cpu", "gpu"):
            self._prefect("work-pool", "create", pool, "--type", "process", "--overwrite")
        self._prefect("work-pool", "set-concurrency-limit", "gpu", "1")
        self._prefect("--no-prompt", "deploy", "--all")

    def _prefect(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=PROJECT, env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise UsageProblem(f"`prefect {' '.join(arguments)}` failed: {said}")

    def _start(self, name: str, command: Sequence[str], url: str) -> None:
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, cwd=PROJECT, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        created = psutil.Process(process.pid).create_time()
        service = Service(name, process.pid, created, url, str(log))
        rows = [asdict(known) for known in (*self.known(), service)]
        fresh = self._state.with_name(".services.json")
        fresh.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        os.replace(fresh, self._state)

    def _healthy(self, name: str, url: str) -> None:
        service = next(known for known in self.known() if known.name == name)
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            if service.process() is None:
                break
            try:
                if httpx.get(url, timeout=2.0).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        raise UsageProblem(f"{name} did not come up at {service.url}; see {service.log}.")

    def _all_alive(self) -> None:
        time.sleep(1.0)
        dead = [service for service in self.known() if service.process() is None]
        if dead:
            raise UsageProblem(f"{dead[0].name} ended at once; see {dead[0].log}.")


def _worker(pool: str) -> list[str]:
    start = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
    return [*start, "--type", "process", "--name", f"melo-{pool}"]


def _end(process: psutil.Process) -> None:
    """Ask a process and its children to end; those that do not in time are killed."""
    family = [process]
    try:
        family += process.children(recursive=True)
        process.terminate()
    except psutil.NoSuchProcess:
        pass
    _, left = psutil.wait_procs(family, timeout=GRACE)
    for one in left:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)
