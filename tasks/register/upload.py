"""Log a version to MLflow: one run for each job, one model version for each passed content hash.

run        parameters, metrics per suite, timings, the edits as an input, the gate's report (`run`)
model      manifest, edits, projection and the shards that are new (`package`); code: serving/
tags       content hash, gate, parent, edits added and removed
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config import Settings
from ledger import Ledger
from ledger import Version as Recorded
from melo_engine.version import read_manifest
from tasks.errors import RegistryError
from tasks.register import run as runs
from tasks.register.contents import Contents
from tasks.register.package import pack, stored_shards
from tasks.register.store import HASH_TAG, VERDICT_TAG, Registry
from tasks.versions import backbone_path, folder_of, open_backbone, report_folder, shards_of

REQUIREMENTS = ["torch", "transformers", "safetensors", "faiss-cpu", "pyarrow", "pandas", "mlflow"]
CODE = "serving.pyfunc_model"  # found as a file; nothing of it is imported here


def register(settings: Settings, ledger: Ledger, version: str) -> str | None:
    """Log a recorded version; returns the registry's number, None for one that failed its gate.

    Done before: nothing is logged twice, nor by two processes at once. Raises UnknownId,
    RegistryError.
    """
    with alone(settings):
        return register_alone(settings, ledger, version)


def register_alone(settings: Settings, ledger: Ledger, version: str) -> str | None:
    """As `register`, for a caller that holds the lock `alone`."""
    known = ledger.version(version)
    registry = Registry(settings)
    backbone = open_backbone(settings)
    name = registry.name_for(backbone)
    client = registry.client
    experiment = registry.experiment(name)
    passed = known.verdict == "passed"
    if passed and (number := registry.find(name, known.id)) is not None:
        if known.registry_version != number or "model" not in known.info:
            model = registry.model_of(name, number)
            _note(ledger, known, number, model, registry.contents(model))
        return number
    if not passed and _finished_run(client, experiment, f"tags.`{HASH_TAG}` = '{known.id}'"):
        return None
    _close_what_died(client, experiment, known.id)
    page = runs.page(settings, known)
    told = runs.tags(known) | {"melo.dashboard": page}
    job = f"job-{known.job_id or 'none'}"
    with _run(experiment, job, told, f"[What it changed]({page})") as run:
        runs.fill_run(settings, ledger, backbone, known)
        if not passed:
            return None
        needed = set(read_manifest(folder_of(settings, known.id))["shards"])
        stored = stored_shards(ledger, registry, needed)
        return _model(settings, ledger, registry, name, known, run, stored)


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One process at a time logs versions and sets aliases; the kernel frees a dead one's lock."""
    lock = settings.home / "run" / "register.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def register_whole(settings: Settings, ledger: Ledger, version: str) -> str:
    """Log a registered version once more with all of its shards; the registry's new number.

    After its shards were folded: later versions refer to these. Its content is the same.
    """
    known = ledger.version(version)
    registry = Registry(settings)
    name = registry.name_for(open_backbone(settings))
    with _run(registry.experiment(name), f"compact-{known.id[:12]}", runs.tags(known)) as run:
        return _model(settings, ledger, registry, name, known, run, {})


def log_fruitless(settings: Settings, ledger: Ledger, job: str, candidate: str) -> None:
    """The run of a job of which nothing could be kept: what it tried, and what the gate said."""
    registry = Registry(settings)
    backbone = open_backbone(settings)
    experiment = registry.experiment(registry.name_for(backbone))
    if _finished_run(registry.client, experiment, f"tags.`melo.job` = '{job}'"):
        return
    import mlflow

    tags = {"melo.job": job, VERDICT_TAG: "nothing kept", "melo.candidate": candidate}
    with _run(experiment, f"job-{job}", tags):
        champion = ledger.champion()
        parent = champion.version if champion else None
        mlflow.log_params(runs.parameters(settings, backbone, parent))
        runs.log_edits(ledger.job(job).edits)
        runs.log_report(report_folder(settings, candidate))


def log_audit(settings: Settings, ledger: Ledger, version: str) -> None:
    """Lay the report of a version's last audit beside that of its gate."""
    known = ledger.version(version)
    registry = Registry(settings)
    name = registry.name_for(open_backbone(settings))
    folder = report_folder(settings, known.id) / "audit"
    if known.registry_version is None or not folder.is_dir():
        return
    run = registry.client.get_model_version(name, known.registry_version).run_id
    registry.client.log_artifacts(run, str(folder), "audit")


def _model(
    settings: Settings,
    ledger: Ledger,
    registry: Registry,
    name: str,
    known: Recorded,
    run: Any,
    stored: dict[str, str],
) -> str:
    import mlflow

    registry.ensure_model(name)
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "version"
        contents = pack(settings, known, package, stored)
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
        tags=runs.tags(known),
        description=f"{known.info.get('edits', 0)} edits; {known.reason}. "
        f"[What it changed]({runs.page(settings, known)})",
    )
    number = str(made.version)
    _note(ledger, known, number, str(logged.model_id), contents)
    registry.set_alias(name, "candidate", number)
    return number


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


def _finished_run(client: Any, experiment: str, which: str) -> Any:
    runs_found = client.search_runs([experiment], which)
    return next((run for run in runs_found if run.info.status == "FINISHED"), None)


def _close_what_died(client: Any, experiment: str, version: str) -> None:
    """A run of this version that is still open belongs to a process that died."""
    for run in client.search_runs([experiment], f"tags.`{HASH_TAG}` = '{version}'"):
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")


def _note(ledger: Ledger, known: Recorded, number: str, model: str, contents: Contents) -> None:
    ledger.record_version(
        known.id, parent=known.parent, job_id=known.job_id, hash=known.hash,
        registry_version=number,
        info={"model": model, "shards": list(contents.own), "refers": contents.refers},
    )  # fmt: skip


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path


@contextlib.contextmanager
def _run(
    experiment: str, name: str, tags: dict[str, str], description: str | None = None
) -> Iterator[Any]:
    """A run, without the progress that MLflow writes to the terminal on its own."""
    import mlflow

    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mlflow.start_run(
            experiment_id=experiment, run_name=name, tags=tags, description=description
        ) as run,
    ):
        yield run
