"""What a job's run in MLflow says: parameters, metrics, edits as an input, the gate's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from config import Settings
from ledger import Edit, Ledger, SuiteVerdict
from ledger import Version as Recorded
from melo_engine import Backbone
from tasks.register.store import HASH_TAG, VERDICT_TAG
from tasks.versions import report_folder

TIMINGS = ("train_seconds", "gate_seconds")
NUMBERS = ("edits", *TIMINGS, "regenerated", "cached")
LONGEST_TAG = 4000  # characters; MLflow takes 5000
GATE = "gate"  # where the report lies among a run's artifacts


def fill_run(settings: Settings, ledger: Ledger, backbone: Backbone, known: Recorded) -> None:
    """Log what is on record about a version into the run that is active."""
    import mlflow

    suites = ledger.suite_verdicts(known.id)
    added = ledger.edits(ids=known.edits_added) if known.edits_added else []
    mlflow.log_params(parameters(settings, backbone, known.parent, known.info.get("device")))
    mlflow.log_metrics(_metrics(known, suites))
    log_edits(added, known.edits_removed)
    log_report(report_folder(settings, known.id), suites)


def log_edits(added: Sequence[Edit], removed: Sequence[str] = ()) -> None:
    """The edits as the run's input, and as a file to read."""
    import mlflow
    import pandas as pd

    rows = [
        {"id": e.id, "prompt": e.prompt, "target": e.target or "", "subject": e.subject or "",
         "source": e.source}
        for e in added
    ]  # fmt: skip
    mlflow.log_dict({"added": rows, "removed": list(removed)}, "edits.json")
    if rows:
        data = mlflow.data.from_pandas(pd.DataFrame(rows), name="edits", targets="target")
        mlflow.log_input(data, context="editing")


def log_report(folder: Path, suites: Sequence[SuiteVerdict] = ()) -> None:
    """The gate's report; where its files are gone, the verdict table."""
    import mlflow

    if (folder / "gate.json").is_file():
        for name in ("gate.json", "gate.html"):
            mlflow.log_artifact(str(folder / name), GATE)
    elif suites:
        rows = [{n: getattr(s, n) for n in SuiteVerdict.__dataclass_fields__} for s in suites]
        mlflow.log_dict({"suites": rows}, f"{GATE}/gate.json")


def parameters(
    settings: Settings, backbone: Backbone, parent: str | None, device: object = None
) -> dict[str, Any]:
    """What a job was run with."""
    return {
        **{f"edit.{k}": v for k, v in settings.edit.model_dump().items()},
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash[:32],
        "device": device or str(backbone.device),
        "parent": parent or "base",
    }


def page(settings: Settings, known: Recorded) -> str:
    """Where the dashboards show a version."""
    return f"{settings.dashboard_url}/version?version={known.id}"


def tags(known: Recorded) -> dict[str, str]:
    """What a version says about itself."""
    return {
        HASH_TAG: known.id,
        VERDICT_TAG: known.verdict or "none",
        "melo.gate_reason": _cut(known.reason or ""),
        "melo.parent": known.parent or "base",
        "melo.job": known.job_id or "none",
        "melo.edits_added": str(len(known.edits_added)),
        "melo.edits_removed": str(len(known.edits_removed)),
        "melo.added": _cut(" ".join(known.edits_added)),
        "melo.removed": _cut(" ".join(known.edits_removed)),
    }


def _metrics(known: Recorded, suites: Sequence[SuiteVerdict]) -> dict[str, float]:
    found = {
        f"{s.suite}.{s.metric}".replace(" ", "_"): float(s.value)
        for s in suites
        if s.value is not None
    }
    for name in NUMBERS:
        value = known.info.get(name)
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"
