"""The processes of one deployment on one machine: start them, end exactly those.

    prefect   server, scheduler, triggers       cpu, gpu-1, gpu-2 ...   workers of the two pools
    mlflow    registry to look at               inbox                   tells Prefect of files that arrive
    serve     the champion over HTTP            supervisor              starts again what died
    dashboard the pages to look at

Who runs is written to HOME/run/services.json: process id and start time, so that a number that the
system has given to somebody else meanwhile is never taken for ours; and of which home, so that a copy
of a home never ends what the original runs.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import psutil

from artifacts.atomic import write_atomically
from config import Settings
from deployment.environment import PROJECT, process_environment
from deployment.errors import DeploymentError
from deployment.service import FORMER_SUPERVISOR, SUPERVISOR, Service
from deployment.service_commands import service_commands
from execution import prefect_database
from execution.ports import free_port, taken

WAIT = 180.0  # seconds for a server to be healthy
SERVERS = ("prefect", "mlflow")
PAGES = ("serve", "dashboard")  # started last: MLflow's store is whole by then


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
            "prefect": prefect_port,
            "mlflow": mlflow_port,
            "serve": serve_port or free_port(),
            "dashboard": dashboard_port or free_port(),
        }
        self.prefect_url, self.mlflow_url = self._url("prefect"), self._url("mlflow")
        self._state = settings.paths.state("services.json").absolute()

    def recorded(self) -> list[Service]:
        """What was started and not ended yet, dead or alive."""
        try:
            rows = json.loads(self._state.read_text(encoding="utf-8"))
            services = [_by_present_name(Service(**row)) for row in rows]
            return [service for service in services if service.is_of(self.home)]
        except (OSError, ValueError, TypeError):
            return []

    def running(self) -> list[Service]:
        """Those that live."""
        return [service for service in self.recorded() if service.process() is not None]

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
        self._state.parent.mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)
        ensure_databases(self.settings)
        self._refuse_taken_ports()
        servers = SERVERS if self._own_mlflow() else SERVERS[:1]
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
        return self.recorded()

    def down(self, say: Callable[[str], None]) -> int:
        """End what was started here, supervisor and workers first; how many were running."""
        ended = 0
        supervisors = [service for service in self.recorded() if service.name == SUPERVISOR]
        for service in supervisors:
            ended += service.end(say)
        for service in reversed([other for other in self.recorded() if other.name != SUPERVISOR]):
            ended += service.end(say)
        self._state.unlink(missing_ok=True)
        return ended

    def start(self, name: str) -> Service:
        """Start one service, or start it again; what it says is added to its log."""
        log = self.settings.paths.log(name).absolute()
        # Prefect's server stands in the folder of its database.
        place = self.settings.paths.prefect if name == "prefect" else PROJECT
        for folder in (log.parent, place):
            folder.mkdir(parents=True, exist_ok=True)
        if name == "prefect" and self.settings.prefect_database is None:
            prefect_database.provide(place)
        with log.open("ab") as file:
            process = subprocess.Popen(
                self._commands()[name],
                cwd=place,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
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

    def _note(self, service: Service) -> None:
        """Write down that it runs, in the place of what had its name before."""
        rows = [asdict(other) for other in self.recorded() if other.name != service.name]
        write_atomically(self._state, json.dumps([*rows, asdict(service)], indent=1))

    def wait_healthy(self, name: str) -> None:
        """Return once a server answers. Raises DeploymentError where it does not come up."""
        service = next(service for service in self.recorded() if service.name == name)
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

    def _own_mlflow(self) -> bool:
        """Whether an MLflow server is started here: none where one elsewhere is named."""
        named = self.settings.registry.tracking_uri
        return named is None or named == self.mlflow_url or not named.startswith("http")

    def _mlflow_page(self) -> str:
        return self.mlflow_url if self._own_mlflow() else str(self.settings.registry.tracking_uri)

    def _commands(self) -> dict[str, list[str]]:
        """Command of each service that is started here, servers first, the supervisor last."""
        return service_commands(self.settings, self.ports, mlflow=self._own_mlflow())

    def _all_alive(self) -> None:
        time.sleep(1.0)
        dead = [service for service in self.recorded() if service.process() is None]
        if dead:
            raise DeploymentError(f"{dead[0].name} ended at once; see {dead[0].log}.")


def _by_present_name(service: Service) -> Service:
    """The supervisor of an earlier release is one: `melo down` ends it first."""
    return replace(service, name=SUPERVISOR) if service.name == FORMER_SUPERVISOR else service
