"""The faults themselves: each puts its reports in, waits for its moment, and injects its fault.

The moment is read from outside: a job that is leased and has left no file yet is in training, one
with a file but without an end is in the gate. A kill comes at once; what was hit is read afterwards,
since a process that is stopped first may hold the ledger's lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from benchmarks.deployment import PROJECT, Deployment, until
from ledger import Job

Put: TypeAlias = Callable[[], int]  # lay the reports into the inbox
Injection: TypeAlias = Callable[[Deployment, Put], None]

SOON = 300.0  # seconds for a moment to come
LOCKED = 60.0  # seconds
HOLD = """
import sys, time, duckdb
while True:
    try:
        held = duckdb.connect(sys.argv[1])
        break
    except duckdb.Error:
        time.sleep(0.01)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
EDIT = "import sys; from flows.edit import edit; edit(sys.argv[1])"


class Missed(Exception):
    """The step was over before the injection."""


def in_training(deployment: Deployment, put: Put) -> None:
    """Kill the gpu worker while a job has a worker and no result."""
    put()
    job = _leased(deployment)
    _kill_gpu(deployment)
    if _result(deployment, job).exists():
        raise Missed("its training was over")


def in_the_gate(deployment: Deployment, put: Put) -> None:
    """Kill the gpu worker while a job has a result and no verdict."""
    put()
    job = _leased(deployment)
    _wait(lambda: _result(deployment, job).exists() or _ended(deployment, job), every=0.005)
    _kill_gpu(deployment)
    if _ended(deployment, job):
        raise Missed("its gate was over")


def before_promotion(deployment: Deployment, put: Put) -> None:
    """Kill the gpu worker when a version is in MLflow and does not serve."""
    put()
    ledger = deployment.ledger
    job = _leased(deployment)

    def registered() -> str | None:
        versions = [v for v in ledger.versions.all() if v.job_id == job.id and v.registry_version]
        return versions[0].id if versions else None

    version = _wait(registered, every=0.005)
    _kill_gpu(deployment)
    champion = ledger.champions.current()
    if champion is not None and champion.version == version:
        raise Missed("it served already")


def in_ingestion(deployment: Deployment, put: Put) -> None:
    """Kill the cpu worker when part of a file is in the ledger."""
    before = deployment.ledger.counts().lines
    lines = put()
    _wait(lambda: deployment.ledger.counts().lines > before, every=0.005)
    deployment.kill("cpu")
    if deployment.ledger.counts().lines == before + lines:
        raise Missed("the file had been read")


def prefect_server(deployment: Deployment, put: Put) -> None:
    """Kill the Prefect server while a job has a worker."""
    put()
    _leased(deployment)
    deployment.kill("prefect")


def mlflow_server(deployment: Deployment, put: Put) -> None:
    """Kill the MLflow server while a job has a worker; its version has to be registered there."""
    put()
    job = _leased(deployment)
    deployment.kill("mlflow")
    versions = [v for v in deployment.ledger.versions.all() if v.job_id == job.id]
    if versions and versions[0].registry_version:
        raise Missed("its version was registered")


def ledger_locked(deployment: Deployment, put: Put) -> None:
    """Let another program hold the ledger's file for a minute while a job has a worker."""
    put()
    _leased(deployment)
    path = str(deployment.settings.paths.ledger)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, str(LOCKED)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    if holder.stdout.readline().strip() != "held":
        raise Missed("the file could not be held")
    holder.wait()


def disk_full(deployment: Deployment, put: Put) -> None:
    """Fill the artifact store; free it again once a run has come to grief over it."""
    events = len(deployment.ledger.events.latest(kind="job-failed"))
    filler = deployment.settings.paths.artifacts / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    try:
        put()
        _wait(lambda: len(deployment.ledger.events.latest(kind="job-failed")) > events, every=0.5)
        time.sleep(5)  # the run that failed ends
    finally:
        filler.unlink()


def two_flows(deployment: Deployment, put: Put) -> None:
    """Start two edit flows beside the scheduled ones, where no limit of a deployment holds."""
    before = deployment.ledger.counts().lines
    lines = put()
    _wait(lambda: deployment.ledger.counts().lines >= before + lines, every=0.2)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", EDIT, str(deployment.services.home)],
            cwd=PROJECT,
            env=deployment.services.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    ended = [process.wait() for process in started]
    if any(ended):
        raise RuntimeError(f"an edit flow that met another ended with {ended}")


def clock_jump(deployment: Deployment, put: Put) -> None:
    """Set the clock of every process a day ahead while a job has a worker."""
    put()
    _leased(deployment)
    set_clock(deployment.settings.home, 86_400)


def settable_clock(home: Path) -> dict[str, str]:
    """An environment whose processes read their wall clock's offset from HOME/clock."""
    library = home / "clock.so"
    source = Path(__file__).with_name("clock.c")
    command = [str(shutil.which("cc")), "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run([*command, "-ldl"], check=True)
    set_clock(home, 0)
    return {"LD_PRELOAD": str(library), "MELO_CLOCK": str(home / "clock")}


def set_clock(home: Path, seconds: int) -> None:
    """Put the clock of the home's processes so many seconds ahead, from this moment on."""
    path = home / "clock"
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


def missing(inject: Injection) -> str | None:
    """What an injection needs and is not here; None where it can be done."""
    if inject is disk_full and not may_mount():
        return "a small disk can't be mounted here; run it as root"
    if inject is clock_jump and not shutil.which("cc"):
        return "no C compiler is here to build the clock with; `apt-get install gcc libc6-dev`"
    return None


def may_mount() -> bool:
    """Whether a small disk can be mounted."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system in memory of this size at a place, for the time of the block."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def _kill_gpu(deployment: Deployment) -> None:
    for service in deployment.services.recorded():
        if service.name.startswith("gpu"):
            deployment.kill(service.name)


def _leased(deployment: Deployment) -> Job:
    jobs = _wait(lambda: deployment.ledger.jobs.find(state="leased"), every=0.02)
    return jobs[0]  # type: ignore[no-any-return,index]


def _ended(deployment: Deployment, job: Job) -> bool:
    return deployment.ledger.jobs.get(job.id).state == "done"


def _result(deployment: Deployment, job: Job) -> Path:
    return deployment.settings.home / "work" / f"{job.id}.json"


def _wait(what: Callable[[], object], *, every: float) -> object:
    value = until(what, patience=SOON, every=every)
    if not value:
        raise Missed(f"its moment did not come in {SOON:.0f} s")
    return value
