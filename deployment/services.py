"""The processes of one deployment on one machine: start them, end exactly those.

    prefect   server, scheduler, triggers       cpu, gpu-1, gpu-2 ...   workers of the two pools
    mlflow    registry to look at               inbox    tells Prefect of files that arrive
    serve     the champion over HTTP            keeper   the supervisor: starts again what died
    dashboard the pages to look at

Who runs is written to HOME/run/services.json: process id and start time, so that a number that the
system has given to somebody else meanwhile is never taken for ours; and of which home, so that a copy
of a home never ends what the original runs.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from artifacts.atomic import write_atomically
from config import Settings
from deployment.environment import PROJECT, process_environment
from deployment.errors import DeploymentError
from deployment.ports import free_port, taken
from tasks.orchestrator import folder

WAIT = 180.0  # seconds for a server to be healthy
GRACE = 20.0  # seconds for a process to end by itself
SERVERS = ("prefect", "mlflow")
PAGES = ("serve", "dashboard")  # started last: MLflow's store is whole by then
HEALTH = {
    "prefect": "/api/health", "mlflow": "/health", "serve": "/healthz",
    "dashboard": "/_stcore/health",
}  # fmt: skip
SUPERVISOR = "keeper"  # its name among the services and in their logs


@dataclass(frozen=True)
class Service:
    """One process that was started here. created: its start time, as the system tells it.

    home: the folder, and its number on its file system, which stays with a folder that is moved.
    """

    name: str
    pid: int
    created: float
    url: str
    log: str
    home: str = ""
    number: int = 0

    def is_of(self, home: Path) -> bool:
        """Whether it was started in this home, and not in one that this is a copy of."""
        if not self.home or home.stat().st_ino == self.number:
            return True
        return not (Path(self.home) / "run" / "services.json").exists()

    def process(self) -> psutil.Process | None:
        """The process, None where it has ended."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 1.0
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def answers(self, patience: float) -> bool:
        """Whether a server says within so many seconds that it is well."""
        try:
            answer = httpx.get(f"{self.url}{HEALTH[self.name]}", timeout=patience, trust_env=False)
            return answer.status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it and what it started at once."""
        process, family = self.process(), []
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end while it is looked at
                family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=5)


class Services:
    """The services of one home. Ports of service and pages: None as the settings say, 0 a free one."""

    def __init__(
        self,
        settings: Settings,
        *,
        prefect_port: int = 4200,
        mlflow_port: int = 5000,
        serve_port: int | None = None,
        dashboard_port: int | None = None,
    ) -> None:
        self.settings = settings
        self.home = settings.home.absolute()
        serve_port = settings.serve.port if serve_port is None else serve_port
        dashboard_port = settings.dashboard.port if dashboard_port is None else dashboard_port
        self.ports = {
            "prefect": prefect_port, "mlflow": mlflow_port, "serve": serve_port or free_port(),
            "dashboard": dashboard_port or free_port(),
        }  # fmt: skip
        self.prefect_url, self.mlflow_url = self._url("prefect"), self._url("mlflow")
        self._state = self.home / "run" / "services.json"

    def known(self) -> list[Service]:
        """What was started and not ended yet, dead or alive."""
        try:
            rows = json.loads(self._state.read_text(encoding="utf-8"))
            services = [Service(**row) for row in rows]
            return [service for service in services if service.is_of(self.home)]
        except (OSError, ValueError, TypeError):
            return []

    def running(self) -> list[Service]:
        """Those that live."""
        return [service for service in self.known() if service.process() is not None]

    def up(self, say: Callable[[str], None]) -> list[Service]:
        """Start everything, apply the deployments, return when all is healthy.

        Raises DeploymentError where something runs already or does not come up; what was started is
        ended again then.
        """
        from deployment.databases import ensure_databases
        from deployment.provisioning import apply

        if self.running():
            names = ", ".join(service.name for service in self.running())
            raise DeploymentError(f"{names} of {self.home} run already. End them with `melo down`.")
        (self.home / "run").mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)
        ensure_databases(self.settings)
        self._refuse_taken_ports()
        servers = self._servers()
        try:
            for name in servers:
                say(f"starting the {name} server")
                self.start(name)
            for name in servers:
                self.wait_healthy(name)
            say("applying prefect.yaml and automations.yaml")
            apply(self.settings, f"{self.prefect_url}/api", self.environment())
            rest = [name for name in self._commands() if name not in servers]
            for name in rest:
                if name in PAGES:
                    say(f"starting {name}")
                self.start(name)
            for name in rest:
                if name in PAGES:
                    self.wait_healthy(name)
            self._all_alive()
        except BaseException:
            self.down(say)
            raise
        return self.known()

    def down(self, say: Callable[[str], None]) -> int:
        """End what was started here, supervisor and workers first; how many were running."""
        ended = 0
        supervisors = [service for service in self.known() if service.name == SUPERVISOR]
        for service in supervisors:
            ended += _ended(service, say)
        for service in reversed([known for known in self.known() if known.name != SUPERVISOR]):
            ended += _ended(service, say)
        self._state.unlink(missing_ok=True)
        return ended

    def start(self, name: str) -> Service:
        """Start one service, or start it again; what it says is added to its log."""
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                self._commands()[name], cwd=self._place(name), env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        created = psutil.Process(process.pid).create_time()
        url = self._url(name) if name in self.ports else ""
        number = self.home.stat().st_ino
        service = Service(name, process.pid, created, url, str(log), str(self.home), number)
        try:
            self._note(service)
        except OSError:
            process.kill()  # what nobody knows of, nobody could end
            process.wait()
            raise
        return service

    def _place(self, name: str) -> Path:
        """Where a service stands: Prefect's server in the folder of its database."""
        place = folder(self.settings) if name == "prefect" else PROJECT
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _note(self, service: Service) -> None:
        """Write down that it runs, in the place of what had its name before."""
        rows = [asdict(known) for known in self.known() if known.name != service.name]
        write_atomically(self._state, json.dumps([*rows, asdict(service)], indent=1))

    def wait_healthy(self, name: str) -> None:
        """Return once a server answers. Raises DeploymentError where it does not come up."""
        service = next(known for known in self.known() if known.name == name)
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline and service.process() is not None:
            if service.answers(2.0):
                return
            time.sleep(0.3)
        raise DeploymentError(f"{name} did not come up at {service.url}; see {service.log}.")

    def wanted_ports(self) -> dict[str, int]:
        """Where each server of this home is to listen, by its name."""
        started = self._commands()
        return {name: port for name, port in self.ports.items() if name in started}

    def environment(self) -> dict[str, str]:
        """What every process of the deployment is told; secrets travel here and nowhere else."""
        variables = process_environment(self.settings, self.prefect_url, self._mlflow_page())
        if self.settings.up.dashboard:
            variables["MELO_DASHBOARD__PORT"] = str(self.ports["dashboard"])  # links lead there
        return variables

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def _refuse_taken_ports(self) -> None:
        """Another program's answer is not to be taken for the health of ours."""
        for name, port in self.wanted_ports().items():
            if taken(port):
                raise DeploymentError(
                    f"port {port}, for {name}, is taken by another program. End that, or give a free "
                    f"one: `melo up --{name}-port N`."
                )

    def _servers(self) -> tuple[str, ...]:
        """The servers that are started here: no MLflow server where one elsewhere is named."""
        return SERVERS if self._own_mlflow() else SERVERS[:1]

    def _own_mlflow(self) -> bool:
        named = self.settings.registry.tracking_uri
        return named is None or named == self.mlflow_url or not named.startswith("http")

    def _mlflow_page(self) -> str:
        return self.mlflow_url if self._own_mlflow() else str(self.settings.registry.tracking_uri)

    def _commands(self) -> dict[str, list[str]]:
        """Command of each service, servers first, the supervisor last."""
        python, home = sys.executable, str(self.home)
        ports = {name: str(port) for name, port in self.ports.items()}
        server = [python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port"]
        commands = {"prefect": [*server, ports["prefect"]]}
        if self._own_mlflow():
            commands["mlflow"] = [
                python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", ports["mlflow"],
                "--workers", "1",
            ]  # fmt: skip
        commands["cpu"] = _worker("cpu", "cpu")
        for number in range(1, self.settings.workers.gpu + 1):
            commands[f"gpu-{number}"] = [*_worker("gpu", f"gpu-{number}"), "--limit", "1"]
        commands["inbox"] = [python, "-m", "tasks.watch", home]
        melo = [python, "-m", "cli.main", "--home", home]
        if self.settings.up.serve and self.settings.backbone.path is not None:
            commands["serve"] = [
                *melo, "serve", "--host", "127.0.0.1", "--port", ports["serve"], "--keys-later",
            ]  # fmt: skip
        if self.settings.up.dashboard:
            commands["dashboard"] = [*melo, "dashboard", "--port", ports["dashboard"]]
        commands[SUPERVISOR] = [python, "-m", "deployment.supervisor", home, *ports.values()]
        return commands

    def _all_alive(self) -> None:
        time.sleep(1.0)
        dead = [service for service in self.known() if service.process() is None]
        if dead:
            raise DeploymentError(f"{dead[0].name} ended at once; see {dead[0].log}.")


def _worker(pool: str, name: str) -> list[str]:
    start = [sys.executable, "-m", "deployment.worker", "--pool", pool]
    return [*start, "--type", "process", "--name", f"melo-{name}"]


def _ended(service: Service, say: Callable[[str], None]) -> bool:
    process = service.process()
    if process is not None:
        say(f"ending {service.name}")
        _end(process, alone=service.name == SUPERVISOR)  # what it started are services too
    return process is not None


def _end(process: psutil.Process, *, alone: bool) -> None:
    """Ask a process to end, with its children unless `alone`; those left in the end are killed."""
    family = {process}
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    left, deadline = [process], time.monotonic() + GRACE
    while left and time.monotonic() < deadline:
        # A worker may be about to start a run: what it starts while it ends is of the family too.
        for one in () if alone else tuple(family):
            with contextlib.suppress(psutil.NoSuchProcess):
                family |= set(one.children(recursive=True))
        left = psutil.wait_procs(family, timeout=0.2)[1]
    for one in left:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)
