"""What `melo up` tells the Prefect server: work pools, prefect.yaml, automations.yaml.

Applied again it changes what is there; nothing is made twice. The webhook's URL is kept in a
Prefect block, which shows it to nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from typing import Any

import httpx
import yaml

from config import Settings
from deployment.environment import PROJECT, deployment_file
from deployment.errors import DeploymentError

POOLS = ("cpu", "gpu")
BLOCK = "melo-alerts"
PREFIX = "melo-"  # of our automations' names
PATIENCE, PAUSE = 30.0, 0.5  # seconds
BUSY = 503  # what Prefect says while its database is locked: nothing was done, ask again


class Patient(httpx.HTTPTransport):
    """Asks again while the server is too busy, for `seconds` at most."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        super().__init__()
        self.seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        last = time.monotonic() + self.seconds
        while True:
            answer = super().handle_request(request)
            if answer.status_code != BUSY or time.monotonic() > last:
                return answer
            answer.close()
            time.sleep(PAUSE)


def apply(
    settings: Settings,
    api: str,
    environment: dict[str, str],
    *,
    pools: tuple[str, ...] = POOLS,
) -> None:
    """Bring the server in line with the files. pools: made, of type process, where missing.

    Raises DeploymentError, saying what Prefect said.
    """
    with httpx.Client(base_url=api, timeout=60, transport=Patient()) as client:
        for pool in pools:
            _pool(client, pool, settings.workers.gpu if pool == "gpu" else None)
        _deploy(environment)
        if pools:  # the server is this home's own
            _cancel_of_other_homes(client, settings)
        _automations(client, automations(settings, _webhook(client, settings)))


def automations(settings: Settings, webhook: str | None) -> list[dict[str, Any]]:
    """The automations of automations.yaml as Prefect takes them.

    webhook: id of the block that posts alerts; without one there are no alerts.
    """
    text = deployment_file("automations.yaml").read_text(encoding="utf-8")
    filled = Template(text).substitute(
        NO_RUN_SECONDS=settings.alerts.no_run_hours * 3600,
        HOME_JSON=json.dumps(str(settings.home)),
        NAMES="$NAMES",
    )
    content = yaml.safe_load(filled)
    post = {"type": "call-webhook", "block_document_id": webhook, "payload": content["payload"]}
    active = []
    for automation in content["automations"]:
        if not automation.pop("alert", False):
            active.append(automation)
        elif webhook is not None:
            active.append({**automation, "actions": [post]})
    return active


def _pool(client: httpx.Client, name: str, limit: int | None) -> None:
    created = client.post("/work_pools/", json={"name": name, "type": "process"})
    if created.status_code != 409:
        _check(created)
    _check(client.patch(f"/work_pools/{name}", json={"concurrency_limit": limit}))


def _deploy(environment: dict[str, str]) -> None:
    file = str(deployment_file("prefect.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        output = " ".join((done.stderr or done.stdout).split())[-300:]
        raise DeploymentError(f"prefect.yaml can't be applied: {output}")


def _cancel_of_other_homes(client: httpx.Client, settings: Settings) -> None:
    """Cancel what is due for another home: a copied or moved home has the runs of the old one."""
    waiting = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "PAUSED"]}}}
    for run in _check(client.post("/flow_runs/filter", json={"flow_runs": waiting})).json():
        home = run["parameters"].get("home")
        if home is not None and Path(str(home)) != settings.home:
            why = {"type": "CANCELLED", "message": f"It is of {home}, not of this home."}
            _check(client.post(f"/flow_runs/{run['id']}/set_state", json={"state": why}))


def _webhook(client: httpx.Client, settings: Settings) -> str | None:
    """Id of the block that posts to `alerts.webhook_url`; None where no URL is set."""
    if settings.alerts.webhook_url is None:
        return None
    kind = _check(client.get("/block_types/slug/webhook")).json()
    schemas = _check(
        client.post(
            "/block_schemas/filter",
            json={"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}},
        )
    ).json()
    data = {"method": "POST", "url": settings.alerts.webhook_url.get_secret_value()}
    block = {"data": data, "block_schema_id": schemas[0]["id"]}
    existing = client.get(f"/block_types/slug/webhook/block_documents/name/{BLOCK}")
    if existing.status_code == 200:
        number = existing.json()["id"]
        _check(client.patch(f"/block_documents/{number}", json=block))
        return str(number)
    block |= {"name": BLOCK, "block_type_id": kind["id"]}
    return str(_check(client.post("/block_documents/", json=block)).json()["id"])


def _automations(client: httpx.Client, wanted: list[dict[str, Any]]) -> None:
    """Replace the automations that an earlier `melo up` made."""
    existing = _check(client.post("/automations/filter", json={"limit": 200})).json()
    for automation in existing:
        if automation["name"].startswith(PREFIX):
            _check(client.delete(f"/automations/{automation['id']}"))
    for automation in wanted:
        _check(client.post("/automations/", json=automation))


def _check(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is a good one; what was sent is not repeated, since it may be secret."""
    if answer.is_error:
        place = f"{answer.request.method} {answer.request.url.path}"
        raise DeploymentError(f"the Prefect server refused {place} ({answer.status_code}).")
    return answer
