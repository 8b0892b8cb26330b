"""Log a version to MLflow: one run for each job, one model version for each passed content hash.

run        parameters, metrics per suite, tags, the edits as a dataset, the gate's report
model      manifest, edits, projection and the shards that its parent lacks; code: serving/
tags       content hash, gate, parent, edits added and removed
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from config import Settings
from ledger import Ledger, SuiteVerdict
from ledger import Version as Recorded
from melo_engine import Backbone
from melo_engine.version import read_manifest
from tasks.errors import RegistryError
from tasks.register.store import HASH_TAG, VERDICT_TAG, Registry
from tasks.versions import backbone_path, folder_of, open_backbone, shards_of

REQUIREMENTS = ["torch", "transformers", "safetensors", "faiss-cpu", "pyarrow", "pandas", "mlflow"]
CODE = "serving.pyfunc_model"  # found as a file; nothing of it is imported here


def register(settings: Settings, ledger: Ledger, version: str) -> str | None:
    """Log a recorded version; returns the registry's number, None for one that failed its gate.

    Done before: nothing is logged twice. Raises UnknownId, RegistryError.
    """
    known = ledger.version(version)
    registry = Registry(settings)
    backbone = open_backbone(settings)
    name = registry.name_for(backbone)
    client = registry.client
    experiment = registry.experiment(name)
    if known.verdict == "passed" and (number := registry.find(name, known.id)) is not None:
        _note(ledger, known, number)
        return number
    run = _finished_run(client, experiment, known.id) if known.verdict != "passed" else None
    if run is not None:
        return None
    _close_what_died(client, experiment, known.id)
    number = _log(settings, ledger, registry, backbone, experiment, name, known)
    if number is not None:
        _note(ledger, known, number)
        registry.set_alias(name, "candidate", number)
    return number


def _log(
    settings: Settings,
    ledger: Ledger,
    registry: Registry,
    backbone: Backbone,
    experiment: str,
    name: str,
    known: Recorded,
) -> str | None:
    import mlflow

    suites = ledger.suite_verdicts(known.id)
    with _quiet(), mlflow.start_run(
        experiment_id=experiment,
        run_name=f"job-{known.job_id or 'none'}",
        tags=_tags(known) | {"melo.dashboard": _page(settings, known)},
        description=f"[What it changed]({_page(settings, known)})",
    ) as run:  # fmt: skip
        mlflow.log_params(_parameters(settings, backbone, known))
        mlflow.log_metrics(_metrics(known, suites))
        mlflow.log_dict({"suites": [_row(s) for s in suites]}, "gate.json")
        mlflow.log_dict(_edits(ledger, known), "edits.json")
        if known.verdict != "passed":
            return None
        registry.ensure_model(name)
        with tempfile.TemporaryDirectory() as scratch:
            package = _package(settings, known, Path(scratch))
            logged = mlflow.pyfunc.log_model(
                name="version",
                python_model=_code(),
                artifacts={"version": str(package)},
                model_config={
                    "backbone": _absolute(backbone_path(settings)),
                    "task": settings.backbone.task,
                    "shards": str(shards_of(settings).absolute()),
                    "device": "auto",
                },
                signature=_signature(),
                pip_requirements=REQUIREMENTS,
                registered_model_name=None,
            )
        made = registry.client.create_model_version(
            name,
            source=logged.model_uri,
            run_id=run.info.run_id,
            model_id=logged.model_id,  # an MLflow server refuses a source without it
            tags=_tags(known),
            description=f"{known.info.get('edits', 0)} edits; {known.reason}. "
            f"[What it changed]({_page(settings, known)})",
        )
    return str(made.version)


def _package(settings: Settings, known: Recorded, scratch: Path) -> Path:
    """The version's own files and the shards that its parent lacks."""
    folder, store = folder_of(settings, known.id), shards_of(settings)
    package = scratch / "version"
    shutil.copytree(folder, package)
    before: set[str] = set()
    if known.parent is not None:
        with contextlib.suppress(Exception):
            before = set(read_manifest(folder_of(settings, known.parent))["shards"])
    for shard in read_manifest(folder)["shards"]:
        if shard not in before:
            shutil.copytree(store / shard, package / "shards" / shard)
    return package


def _code() -> str:
    found = importlib.util.find_spec(CODE)
    if found is None or found.origin is None:
        raise RegistryError(f"{CODE} is not installed; install the project again.")
    return found.origin


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    text, number = "string", "double"
    return ModelSignature(
        inputs=Schema([ColSpec(text)]),  # no name: a list of prompts will do, or any one column
        outputs=Schema(
            [
                ColSpec(text, "answer"), ColSpec(text, "edit", required=False),
                ColSpec(text, "block", required=False), ColSpec(number, "distance", required=False),
                ColSpec(number, "radius", required=False), ColSpec(text, "version"),
            ]
        ),
    )  # fmt: skip


def _tags(known: Recorded) -> dict[str, str]:
    return {
        HASH_TAG: known.id,
        VERDICT_TAG: known.verdict or "none",
        "melo.parent": known.parent or "base",
        "melo.job": known.job_id or "none",
        "melo.edits_added": str(len(known.edits_added)),
        "melo.edits_removed": str(len(known.edits_removed)),
    }


def _page(settings: Settings, known: Recorded) -> str:
    """Where the dashboards show it."""
    return f"{settings.dashboard_url}/version?version={known.id}"


def _parameters(settings: Settings, backbone: Backbone, known: Recorded) -> dict[str, Any]:
    return {
        **{f"edit.{k}": v for k, v in settings.edit.model_dump().items()},
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash[:32],
        "device": str(backbone.device),
        "parent": known.parent or "base",
    }


def _metrics(known: Recorded, suites: list[SuiteVerdict]) -> dict[str, float]:
    found = {
        f"{s.suite}.{s.metric}".replace(" ", "_"): float(s.value)
        for s in suites
        if s.value is not None
    }
    for name in ("edits", "gate_seconds", "regenerated", "cached"):
        value = known.info.get(name)
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def _edits(ledger: Ledger, known: Recorded) -> dict[str, Any]:
    added = ledger.edits(ids=known.edits_added) if known.edits_added else []
    return {
        "added": [
            {"id": e.id, "prompt": e.prompt, "target": e.target, "subject": e.subject,
             "source": e.source} for e in added
        ],
        "removed": list(known.edits_removed),
    }  # fmt: skip


def _row(suite: SuiteVerdict) -> dict[str, Any]:
    return {name: getattr(suite, name) for name in SuiteVerdict.__dataclass_fields__}


def _finished_run(client: Any, experiment: str, version: str) -> Any:
    runs = client.search_runs([experiment], f"tags.`{HASH_TAG}` = '{version}'")
    return next((run for run in runs if run.info.status == "FINISHED"), None)


def _close_what_died(client: Any, experiment: str, version: str) -> None:
    """A run of this version that is still open belongs to a process that died."""
    for run in client.search_runs([experiment], f"tags.`{HASH_TAG}` = '{version}'"):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def _note(ledger: Ledger, known: Recorded, number: str) -> None:
    if known.registry_version != number:
        ledger.record_version(
            known.id, parent=known.parent, job_id=known.job_id, hash=known.hash,
            registry_version=number,
        )  # fmt: skip


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


@contextlib.contextmanager
def _quiet() -> Any:
    """MLflow writes progress to the terminal on its own; this command line has its own."""
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
