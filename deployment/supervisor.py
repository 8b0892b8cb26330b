"""Keep a deployment alive: `python -m deployment.supervisor HOME PORT...`.

A service that ended is started again, with growing pauses where it does not stay, and so is a server
that has answered once and then says nothing for ten minutes; runs whose process died are marked as
crashed, so that the next one of their kind may begin. Ended first by `melo down`. What it did is on
record as events of the ledger.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass

import httpx

from config import load
from deployment.flow_runs import tidy
from deployment.service import HEALTH, SUPERVISOR
from deployment.services import Services
from ledger import Ledger, LedgerError

LOOK_EVERY = 1.0  # seconds
TIDY_EVERY = 10.0  # seconds
PATIENCE = 10.0  # seconds for a server to say that it is well
SILENT = 60  # times in a row that it does not, TIDY_EVERY apart, until it is started anew
STAYED = 60.0  # seconds after which a service counts as well again
LONGEST_PAUSE = 60.0  # seconds


@dataclass
class Pause:
    """When a service may be started again."""

    seconds: float = 0.0
    until: float = 0.0
    started: float = 0.0

    def next(self, now: float) -> None:
        """Note a start; the pause doubles for a service that did not stay."""
        stayed = now - self.started > STAYED
        self.seconds = 0.5 if stayed else min(self.seconds * 2 or 1.0, LONGEST_PAUSE)
        self.started, self.until = now, now + self.seconds


class Supervisor:
    """Looks after the services of one home."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.pauses: dict[str, Pause] = {}
        self.tidied = 0.0
        self.missed_checks: dict[int, int] = {}  # by process id, of servers that have answered once

    def look(self) -> None:
        """Once: start what is dead, put runs in order."""
        now = time.monotonic()
        for service in self.services.recorded():
            if service.name == SUPERVISOR or service.process() is not None:
                continue
            pause = self.pauses.setdefault(service.name, Pause())
            if now >= pause.until:
                pause.next(now)
                self._start(service.name)
        if now - self.tidied >= TIDY_EVERY:
            self.tidied = now
            self._listen()
            self._tidy()

    def _start(self, name: str) -> None:
        try:
            self.services.start(name)
        except OSError as error:  # a full disk; the next look tries again
            _say(f"{name} could not be started: {error}")
            return
        self._record("service-restarted", f"{name} had ended; it runs again")

    def _listen(self) -> None:
        """End a server that lives but answers no more: the next look starts it again."""
        for service in self.services.recorded():
            if service.name not in HEALTH or service.process() is None:
                continue
            if service.answers(PATIENCE):
                self.missed_checks[service.pid] = 0
            elif service.pid in self.missed_checks:
                self.missed_checks[service.pid] += 1
                if self.missed_checks[service.pid] >= SILENT:
                    service.kill()
                    self._record("service-silent", f"{service.name} said nothing; it was ended")

    def _tidy(self) -> None:
        try:
            crashed = tidy(f"{self.services.prefect_url}/api")
        except (httpx.HTTPError, ValueError, KeyError):
            return  # the server is on its way; the next look finds it
        if crashed:
            self._record("runs-crashed", f"{crashed} runs whose process had died")

    def _record(self, kind: str, message: str) -> None:
        _say(f"{kind}: {message}")
        try:
            with Ledger.open(self.services.settings.paths.ledger, timeout=10) as ledger:
                ledger.events.record(kind, message, severity="warning")
        except LedgerError as error:
            _say(str(error))


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the log is on the disk that may be full
        print(text, flush=True)


def main(home: str, *ports: str) -> None:
    """Look after it until told to end. ports: of Prefect, MLflow, the service, the pages."""
    names = ("prefect_port", "mlflow_port", "serve_port", "dashboard_port")
    options = {name: int(port) for name, port in zip(names, ports, strict=True)}
    supervisor = Supervisor(Services(load(home), **options))
    while True:
        supervisor.look()
        time.sleep(LOOK_EVERY)


if __name__ == "__main__":
    main(*sys.argv[1:])
