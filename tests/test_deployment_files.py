"""prefect.yaml, automations.yaml and the pools of docs/cluster.md are what Prefect takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import prefect
import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.events import DeploymentTriggerTypes
from prefect.events.schemas.automations import AutomationCore
from prefect.server.schemas.actions import WorkPoolCreate
from pydantic import TypeAdapter

from config import load
from deployment.environment import USUAL
from deployment.provisioning import automations

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
KNOWN = Path(prefect.__file__).parent / "server/api/collections_data/views"
FLOWS = {
    "ingest": "cpu",
    "edit": "gpu",
    "train-shards": "gpu",
    "audit": "gpu",
    "compact": "cpu",
    "rollback": "cpu",
}


def block(kind: str) -> str:
    """A fenced block of the page, by what stands behind `yaml`."""
    (found,) = re.findall(rf"```yaml {kind}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def with_pools(definitions: str) -> dict[str, Any]:
    """prefect.yaml with its two pools replaced, as the page says."""
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    pools = definitions.removeprefix("definitions:\n")
    before, after = text.split("  cpu: &cpu\n")
    rest = after[after.index("  alone: &alone") :]
    told: dict[str, Any] = yaml.safe_load(before + pools + rest)
    return told


def template(kind: str) -> dict[str, Any]:
    """Prefect's own base job template of a kind of pool."""
    views = json.loads((KNOWN / "aggregate-worker-metadata.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = views[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    return found


def checked(told: dict[str, Any]) -> PrefectYamlModel:
    """Prefect's reading of the file, with its triggers."""
    for deployment in told["deployments"]:
        for trigger in deployment.get("triggers", ()):
            TypeAdapter(DeploymentTriggerTypes).validate_python(trigger)
    return PrefectYamlModel.model_validate(told)


def test_prefect_yaml_is_what_prefect_takes() -> None:
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    model = checked(told)
    assert {d.name: d.work_pool.name for d in model.deployments if d.work_pool} == FLOWS
    crons = re.findall(r"MELO_CRON_\w+", (ROOT / "prefect.yaml").read_text())
    assert set(crons) <= set(USUAL)
    for deployment in model.deployments:
        file, flow = str(deployment.entrypoint).split(":")
        assert f"def {flow}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("kind", ["kubernetes", "docker"])
def test_the_same_file_runs_on_a_cluster(kind: str) -> None:
    model = checked(with_pools(block(kind)))
    assert {d.name: d.work_pool.name for d in model.deployments if d.work_pool} == FLOWS
    schema = {**template(kind)["variables"], "additionalProperties": False}
    for deployment in model.deployments:
        assert deployment.work_pool is not None
        assert deployment.work_pool.job_variables
        jsonschema.validate(deployment.work_pool.job_variables, schema)


def test_the_page_s_template_is_a_kubernetes_pool_and_takes_its_variables() -> None:
    told = yaml.safe_load(block("kubernetes-template"))
    WorkPoolCreate(name="gpu", type="kubernetes", base_job_template=told)
    own = template("kubernetes")
    assert set(told["job_configuration"]) <= set(own["job_configuration"])
    for deployment in checked(with_pools(block("kubernetes"))).deployments:
        assert deployment.work_pool is not None
        schema = {**told["variables"], "additionalProperties": False}
        jsonschema.validate(deployment.work_pool.job_variables, schema)


def test_automations_are_what_prefect_takes_and_alerts_need_a_webhook(tmp_path: Path) -> None:
    settings = load(tmp_path)
    block_id = "6a0fbb2e-3bb5-4a55-8d0f-1d9d0a6e2f6f"
    told = automations(settings, block_id)
    parsed = [AutomationCore.model_validate(automation) for automation in told]
    events = {event for one in parsed for event in getattr(one.trigger, "expect", ())}
    assert {
        "melo.version.promoted",
        "melo.version.rejected",
        "melo.job.set-aside",
        "melo.backlog.old",
    } <= events
    (late,) = [one for one in parsed if one.name == "melo-alert-no-run"]
    assert late.trigger.within.total_seconds() == settings.alerts.no_run_hours * 3600
    assert [one["name"] for one in automations(settings, None)] == ["melo-run-died"]
