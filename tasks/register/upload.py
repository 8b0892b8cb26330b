"""Log a version to MLflow: one run for each job, one model version for each passed content hash.

run        parameters, metrics per suite, timings, the edits as an input, the gate's report (`run`)
model      manifest, edits, projection and the shards that are new (`package`); code: serving/
tags       content hash, gate, parent, edits added and removed
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

from artifacts.shards import ShardReferences
from artifacts.tags import CANDIDATE, CANDIDATE_TAG, DASHBOARD_TAG, HASH_TAG, JOB_TAG, VERDICT_TAG
from execution.context import Context
from execution.lineage import candidate
from ledger import Ledger, VersionRecord
from registry.errors import RegistryError
from registry.fetching import read_references
from registry.runs import RunContent, active_run, log_content, log_model
from registry.store import Registry
from tasks.register import run as runs
from tasks.register.package import pack, stored_shards

CODE = "serving.pyfunc_model"  # found as a file; nothing of it is imported here


def register(context: Context, version: str) -> str | None:
    """Log a recorded version; returns the registry's number, None for one that failed its gate.

    May be called again: nothing is logged twice, nor by two processes of one machine at once. Raises
    UnknownId, RegistryError.
    """
    with registering(context):
        return _register(context, version)


@contextlib.contextmanager
def registering(context: Context) -> Iterator[None]:
    """Alone among this machine's processes in what versions in MLflow refer to."""
    lock = context.settings.paths.state("register.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees a dead process's lock
        yield


def _register(context: Context, version: str) -> str | None:
    record = context.ledger.versions.get(version)
    registry = context.registry
    backbone = context.versions.backbone
    name = registry.name_for(backbone)
    experiment = registry.experiment(name)
    passed = record.verdict == "passed"
    if passed and (number := registry.find(name, record.id)) is not None:
        if record.registry_version != number or "model" not in record.info:
            model = registry.model_of(name, number)
            _note(context.ledger, record, number, model, read_references(registry.client, model))
        registry.finish_run(name, number)  # whoever logged it may have died before
        _set_candidate(context, registry, name, record.id, number)
        return number
    if not passed and registry.has_finished_run(experiment, HASH_TAG, record.id):
        return None
    registry.close_dead_runs(experiment, record.id)
    page = runs.page(context.settings, record)
    tags = runs.tags(record) | {DASHBOARD_TAG: page}
    job = f"job-{record.job_id or 'none'}"
    with active_run(experiment, job, tags, f"[What it changed]({page})") as run:
        log_content(runs.content_of(context, backbone, record))
        if not passed:
            return None
        stored = stored_shards(context, registry, record.id)
        return _model(context, registry, record, run, stored)


def register_whole(context: Context, version: str) -> str:
    """Log a registered version once more with all of its shards; the registry's new number.

    Called after its shards were folded, so that later versions refer to these. Its content is the same.
    """
    record = context.ledger.versions.get(version)
    registry = context.registry
    experiment = registry.experiment(registry.name_for(context.versions.backbone))
    with active_run(experiment, f"compact-{record.id[:12]}", runs.tags(record)) as run:
        return _model(context, registry, record, run, {})


def log_fruitless(context: Context, job: str, candidate: str) -> None:
    """The run of a job of which nothing could be kept: what it tried, and what the gate said."""
    registry = context.registry
    backbone = context.versions.backbone
    experiment = registry.experiment(registry.name_for(backbone))
    if registry.has_finished_run(experiment, JOB_TAG, job):
        return
    champion = context.ledger.champions.current()
    content = RunContent(
        runs.parameters(context.settings, backbone, champion.version if champion else None),
        runs.rows_of(context.ledger.jobs.get(job).edits),
        context.paths.report(candidate),
    )
    tags = {JOB_TAG: job, VERDICT_TAG: "nothing kept", CANDIDATE_TAG: candidate}
    with active_run(experiment, f"job-{job}", tags):
        log_content(content)


def log_audit(context: Context, version: str) -> None:
    """Lay the report of a version's last audit beside that of its gate."""
    record = context.ledger.versions.get(version)
    registry = context.registry
    name = registry.name_for(context.versions.backbone)
    folder = context.paths.report(record.id) / "audit"
    number = record.registry_version
    if number is not None and folder.is_dir() and registry.holds(name, number, record.id):
        registry.log_folder(name, number, folder, "audit")


def _model(
    context: Context,
    registry: Registry,
    record: VersionRecord,
    run: str,
    stored: dict[str, str],
) -> str:
    """Log the model of a version into the active run and register it; returns its number."""
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "version"
        references = pack(context.paths, record.id, package, stored)
        config = {
            "backbone": _absolute(context.versions.backbone_path()),
            "task": context.settings.backbone.task,
            "shards": str(context.paths.shards.absolute()),
            "device": "auto",
            "chat": context.settings.backbone.chat,
            "system_prompt": context.settings.backbone.system_prompt,
        }
        model = log_model(run, package, _code(), config)
    name = registry.name_for(context.versions.backbone)
    description = (
        f"{record.info.get('edits', 0)} edits; {record.reason}. "
        f"[What it changed]({runs.page(context.settings, record)})"
    )
    number = registry.create_version(name, model, runs.tags(record), description)
    _note(context.ledger, record, number, model.id, references)
    _set_candidate(context, registry, name, record.id, number)
    return number


def _set_candidate(
    context: Context, registry: Registry, name: str, version: str, number: str
) -> None:
    """Let the alias name a version, where none that passed its gate is newer."""
    if version == candidate(context.ledger):
        registry.set_alias(name, CANDIDATE, number)


def _code() -> Path:
    spec = importlib.util.find_spec(CODE)
    if spec is None or spec.origin is None:
        raise RegistryError(f"{CODE} is not installed; install the project again.")
    return Path(spec.origin)


def _note(
    ledger: Ledger, record: VersionRecord, number: str, model: str, references: ShardReferences
) -> None:
    ledger.versions.note(
        record.id,
        {"model": model, "shards": list(references.own), "refers": references.models},
        registry_version=number,
    )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).exists() else path
