"""One process of a deployment: is it still the one that was started, does it answer, end it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

GRACE = 20.0  # seconds for a process to end by itself
HEALTH = {
    "prefect": "/api/health",
    "mlflow": "/health",
    "serve": "/healthz",
    "dashboard": "/_stcore/health",
}
SUPERVISOR = "supervisor"  # its name among the services and in their logs
FORMER_SUPERVISOR = "keeper"  # in the record of a deployment that an earlier release started


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
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
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
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=5)

    def end(self, say: Callable[[str], None]) -> bool:
        """Let it end by itself, with what it started; whether it was running."""
        process = self.process()
        if process is not None:
            say(f"ending {self.name}")
            _end(process, with_children=self.name != SUPERVISOR)  # what it started are services too
        return process is not None


def _end(process: psutil.Process, *, with_children: bool) -> None:
    """Ask a process, and its children where wanted, to end; what still runs after GRACE is killed."""
    family = {process}
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    left, deadline = [process], time.monotonic() + GRACE
    while left and time.monotonic() < deadline:
        # A worker may be about to start a run: what it starts while it ends is of the family too.
        for member in tuple(family) if with_children else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                family |= set(member.children(recursive=True))
        left = psutil.wait_procs(family, timeout=0.2)[1]
    for member in left:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)
