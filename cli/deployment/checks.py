"""What `melo doctor` looks at in a deployment: databases, ports, services, schedules, runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.home.checks import Finding

LATE = timedelta(minutes=10)
RESTARTED = "The supervisor starts it again within a minute; if it does not stay, see its log."


def check_database(settings: Any) -> Iterator[Finding]:
    """Whether the databases of Prefect and MLflow can be used, where a server is set."""
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


def check_services(settings: Any) -> Iterator[Finding]:
    """What `melo up` started, or the ports that it would take."""
    from deployment.service import SUPERVISOR
    from deployment.services import Services

    services = Services(settings)
    started = services.recorded()
    if not started:
        yield Finding("services", True, "none started here")
        yield from _ports(services)
        return
    supervised = any(s.name == SUPERVISOR and s.process() is not None for s in started)
    for service in started:
        alive = service.process() is not None
        status = _status(service) if alive else f"ended; see {service.log}"
        remedy = "" if alive else RESTARTED if supervised else "`melo down`, then `melo up`."
        yield Finding(service.name, alive, status, remedy)
    server = next((s for s in started if s.name == "prefect"), None)
    if server is not None and server.process() is not None:
        yield from _schedules(f"{server.url}/api")


def _ports(services: Any) -> Iterator[Finding]:
    """Whether those that `melo up` would take are free."""
    from execution.ports import taken

    for name, port in services.wanted_ports().items():
        if taken(port):
            remedy = f"`melo up --{name}-port N` with a free one."
            yield Finding(f"port {port}", False, "taken by another program", remedy)


def _status(service: Any) -> str:
    """The address of a service; of the HTTP service also whether its model is open."""
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

    from deployment.flow_runs import orphaned, unfinished

    try:
        deployments = httpx.post(
            f"{api}/deployments/filter", json={}, timeout=30, trust_env=False
        ).json()
        runs = unfinished(api)
    except httpx.HTTPError as error:
        yield Finding("schedules", False, str(error), "`melo down`, then `melo up`.")
        return
    off = [d["name"] for d in deployments if d["paused"] or _all_off(d["schedules"])]
    names = ", ".join(off)
    yield Finding(
        "schedules",
        bool(deployments) and not off,
        f"{len(deployments)} deployments" + (f", stopped: {names}" if off else ""),
        "" if deployments and not off else "`melo down`, then `melo up` applies them anew.",
    )
    late = [run["name"] for run in runs if _overdue(run)]
    lost = [run["name"] for run in orphaned(runs)]
    remedies = ["A worker is missing: `melo down`, then `melo up`."] if late else []
    remedies += (
        ["The supervisor clears them; without one, `melo down`, then `melo up`."] if lost else []
    )
    yield Finding(
        "runs",
        not late and not lost,
        f"{len(late)} late, {len(lost)} without a living process",
        " ".join(remedies),
    )


def _all_off(schedules: list[dict[str, Any]]) -> bool:
    return bool(schedules) and not any(schedule["active"] for schedule in schedules)


def _overdue(run: dict[str, Any]) -> bool:
    due = run.get("expected_start_time")
    if run.get("state_type") not in ("SCHEDULED", "PENDING") or not due:
        return False
    return datetime.fromisoformat(due.replace("Z", "+00:00")) < datetime.now(UTC) - LATE
