"""`melo doctor`: what is wrong, and how to mend it. It looks only; nothing in the home is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from console.context import Json, State, new_app, state
from console.output import print_json, print_table

app = new_app()
# Versions that were proven to work together; others pass `pip check` and fail at run time.
PINNED = {
    "prefect": "3.8.8", "fastapi": "0.150.0", "sqlalchemy": "2.0.58", "mlflow": "3.17.2",
    "starlette": "1.10.0", "duckdb": "2.0.0", "transformers": "5.23.0", "torch": "2.13.0",
}  # fmt: skip
LEAST_DISK = 2 * 2**30  # bytes
LATE = timedelta(minutes=10)
KEPT = "The keeper starts it again within a minute; if it does not stay, see its log."


@dataclass(frozen=True)
class Finding:
    """One thing looked at. remedy: what to do, where it is not well."""

    what: str
    well: bool
    found: str
    remedy: str = ""


@app.command()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Look at versions, disk, GPU, backbone, ledger, ports, services, schedules and runs.

    Exit code 1 if anything is unwell.
    """
    found = list(examine(state(ctx)))
    if as_json:
        print_json(found)
    else:
        print_table(
            ("", "what", "found", "what to do"),
            [("well" if f.well else "NOT WELL", f.what, f.found, f.remedy) for f in found],
        )
    if not all(finding.well for finding in found):
        raise typer.Exit(1)


def examine(here: State) -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    yield from _packages()
    settings = here.settings
    yield _disk(settings.home)
    yield _place(settings)
    yield _device(settings)
    yield _backbone(settings)
    yield from _ledger(here)
    yield from _database(settings)
    yield from _services(settings)


def _packages() -> Iterator[Finding]:
    right = (3, 11) <= sys.version_info[:2] <= (3, 13)
    remedy = "" if right else "Use Python 3.11, 3.12 or 3.13: make install."
    yield Finding("Python", right, sys.version.split()[0], remedy)
    for name, wanted in PINNED.items():
        try:
            got = version(name).split("+")[0]
        except PackageNotFoundError:
            got = "missing"
        if got != wanted:
            yield Finding(name, False, got, f"{wanted} is the one that works: make install.")


def _disk(home: Path) -> Finding:
    place = home if home.exists() else home.parent
    free = shutil.disk_usage(place if place.exists() else Path("/")).free
    said = f"{free / 2**30:.1f} GiB free"
    if not _may_write(place):
        remedy = "It is read-only, or of another user: nothing can be taken in or edited."
        return Finding("disk", False, f"{said}, can't be written", remedy)
    well = free >= LEAST_DISK
    return Finding("disk", well, said, "" if well else "Free some space.")


def _may_write(place: Path) -> bool:
    """Whether files may be made here. Nothing is written to find out."""
    with contextlib.suppress(OSError):
        read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        return not read_only and os.access(place, os.W_OK | os.X_OK)
    return True  # it isn't there yet


def _place(settings: Any) -> Finding:
    """Whether what the home keeps of places names the home where it is."""
    from registry.relocation import moved

    found = moved(settings)
    if found is None:
        return Finding("place", True, str(settings.home))
    return Finding(
        "place", False, f"was at {found.before}, is at {found.now}",
        "Any command that writes, like `melo run`, puts right what names the old place.",
    )  # fmt: skip


def _device(settings: Any) -> Finding:
    import torch

    wanted, there = settings.backbone.device, torch.cuda.is_available()
    found = torch.cuda.get_device_name(0) if there else "no GPU; training runs on the CPU"
    well = there or not wanted.startswith("cuda")
    return Finding("device", well, found, "" if well else 'Set backbone.device to "auto".')


def _backbone(settings: Any) -> Finding:
    from melo_engine import MeloError
    from registry.errors import RegistryError
    from tasks.errors import TaskError
    from tasks.versions import open_backbone

    try:
        opened = open_backbone(settings)
    except (MeloError, TaskError, RegistryError) as error:
        return Finding("backbone", False, "can't be opened", " ".join(str(error).split()))
    return Finding("backbone", True, f"{opened.name}, {opened.task}, on {opened.device}")


def _ledger(here: State) -> Iterator[Finding]:
    from ledger import LedgerError

    if not here.settings.paths.ledger.exists():
        yield Finding("ledger", False, "none", "Start with `melo init`.")
        return
    try:
        with here.reader() as ledger:
            counts = ledger.counts()
            leased = ledger.jobs(state="leased")
            failed = ledger.jobs(state="failed")
    except LedgerError as error:
        yield Finding("ledger", False, "can't be opened", " ".join(str(error).split()))
        return
    adds_up = sum(counts.counts.values()) == counts.lines
    yield Finding(
        "ledger", adds_up, f"{counts.lines} lines, champion {(counts.champion or 'none')[:12]}",
        "" if adds_up else "The counts do not add up: restore the file from a backup.",
    )  # fmt: skip
    now = datetime.now(UTC)
    orphans = [job for job in leased if job.lease_until and job.lease_until < now]
    yield Finding(
        "jobs", not orphans,
        f"{len(leased)} at work, {len(orphans)} without a living worker, {len(failed)} set aside",
        "`melo run` takes them up." if orphans else "",
    )  # fmt: skip


def _database(settings: Any) -> Iterator[Finding]:
    from deployment.databases import ensure_databases
    from deployment.errors import DeploymentError

    if settings.database.url is None:
        return
    try:
        ensure_databases(settings)
    except DeploymentError as error:
        yield Finding("database", False, "can't be used", str(error))
        return
    yield Finding("database", True, "PostgreSQL, for Prefect and MLflow")


def _services(settings: Any) -> Iterator[Finding]:
    from deployment.services import Services

    services = Services(settings)
    known = services.known()
    if not known:
        yield Finding("services", True, "none started here")
        yield from _ports(services)
        return
    keeper = any(s.name == "keeper" and s.process() is not None for s in known)
    for service in known:
        alive = service.process() is not None
        found = _asked(service) if alive else f"ended; see {service.log}"
        remedy = "" if alive else KEPT if keeper else "`melo down`, then `melo up`."
        yield Finding(service.name, alive, found, remedy)
    server = next((s for s in known if s.name == "prefect"), None)
    if server is not None and server.process() is not None:
        yield from _schedules(f"{server.url}/api")


def _ports(services: Any) -> Iterator[Finding]:
    """Whether those that `melo up` would take are free."""
    from deployment.ports import taken

    for name, port in services.wanted_ports().items():
        if taken(port):
            remedy = f"`melo up --{name}-port N` with a free one."
            yield Finding(f"port {port}", False, "taken by another program", remedy)


def _asked(service: Any) -> str:
    """Where a service is; of the HTTP service also whether its model is open."""
    import httpx

    if service.name != "serve":
        return service.url or f"process {service.pid}"
    try:
        ready = httpx.get(f"{service.url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        ready = False
    return f"{service.url}, ready" if ready else f"{service.url}, the model is not open yet"


def _schedules(api: str) -> Iterator[Finding]:
    """Deployments whose schedule is off, and runs that nobody has begun or nobody is at."""
    import httpx

    from deployment.flow_runs import orphaned

    try:
        deployments = httpx.post(
            f"{api}/deployments/filter", json={}, timeout=30, trust_env=False
        ).json()
        runs = httpx.post(
            f"{api}/flow_runs/filter", timeout=30, trust_env=False,
            json={"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}},
        ).json()  # fmt: skip
    except httpx.HTTPError as error:
        yield Finding("schedules", False, str(error), "`melo down`, then `melo up`.")
        return
    off = [d["name"] for d in deployments if d["paused"] or _all_off(d["schedules"])]
    names = ", ".join(off)
    yield Finding(
        "schedules", bool(deployments) and not off,
        f"{len(deployments)} deployments" + (f", stopped: {names}" if off else ""),
        "" if deployments and not off else "`melo down`, then `melo up` applies them anew.",
    )  # fmt: skip
    late = [run["name"] for run in runs if _overdue(run)]
    lost = [run["name"] for run in orphaned(runs)]
    remedies = ["A worker is missing: `melo down`, then `melo up`."] if late else []
    remedies += (
        ["The keeper clears them; without one, `melo down`, then `melo up`."] if lost else []
    )
    yield Finding(
        "runs", not late and not lost, f"{len(late)} late, {len(lost)} without a living process",
        " ".join(remedies),
    )  # fmt: skip


def _all_off(schedules: list[dict[str, Any]]) -> bool:
    return bool(schedules) and not any(schedule["active"] for schedule in schedules)


def _overdue(run: dict[str, Any]) -> bool:
    due = run.get("expected_start_time")
    if run.get("state_type") == "RUNNING" or not due:
        return False
    return datetime.fromisoformat(due.replace("Z", "+00:00")) < datetime.now(UTC) - LATE
