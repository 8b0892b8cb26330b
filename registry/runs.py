"""What a run in MLflow says: parameters, metrics, edits as an input, the gate's report, a model."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORT = "gate"  # where the gate's report lies among a run's artifacts
REPORT_FILES = ("gate.json", "gate.html")
REQUIREMENTS = ["torch", "transformers", "safetensors", "faiss-cpu", "pyarrow", "pandas", "mlflow"]


@dataclass(frozen=True)
class RunContent:
    """What a job's run says.

    edits: a row for each that came in, with a column `target`; removed: ids of those taken out. report:
    folder with the gate's files; verdicts: rows of its table, logged where the files are gone.
    """

    parameters: Mapping[str, Any]
    edits: Sequence[Mapping[str, str]]
    report: Path
    metrics: Mapping[str, float] = field(default_factory=dict)
    removed: Sequence[str] = ()
    verdicts: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True)
class LoggedModel:
    """A model among the artifacts of a run. id, uri: as MLflow names it."""

    id: str
    uri: str
    run: str


@contextlib.contextmanager
def active_run(
    experiment: str, name: str, tags: Mapping[str, str], description: str | None = None
) -> Iterator[str]:
    """A run's id while the run is active, without the progress that MLflow writes to the terminal."""
    import mlflow

    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mlflow.start_run(
            experiment_id=experiment, run_name=name, tags=dict(tags), description=description
        ) as run,
    ):
        yield str(run.info.run_id)


def log_content(content: RunContent) -> None:
    """Log into the run that is active."""
    import mlflow
    import pandas as pd

    mlflow.log_params(dict(content.parameters))
    mlflow.log_metrics(dict(content.metrics))
    rows = [dict(row) for row in content.edits]
    mlflow.log_dict({"added": rows, "removed": list(content.removed)}, "edits.json")
    if rows:
        data = mlflow.data.from_pandas(pd.DataFrame(rows), name="edits", targets="target")
        mlflow.log_input(data, context="editing")
    if (content.report / REPORT_FILES[0]).is_file():
        for name in REPORT_FILES:
            mlflow.log_artifact(str(content.report / name), REPORT)
    elif content.verdicts:
        suites = [dict(row) for row in content.verdicts]
        mlflow.log_dict({"suites": suites}, f"{REPORT}/{REPORT_FILES[0]}")


def log_model(run: str, version: Path, code: Path, config: Mapping[str, Any]) -> LoggedModel:
    """Log a version's folder as a pyfunc model of the active run.

    code: the file that defines the model; config: what it is opened with.
    """
    import mlflow

    logged = mlflow.pyfunc.log_model(
        name="version",
        python_model=str(code),
        artifacts={"version": str(version)},
        model_config=dict(config),
        signature=_signature(),
        pip_requirements=REQUIREMENTS,
        registered_model_name=None,
    )
    return LoggedModel(str(logged.model_id), str(logged.model_uri), run)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    text, number = "string", "double"
    return ModelSignature(
        inputs=Schema([ColSpec(text)]),  # no name: a list of prompts will do, or any one column
        outputs=Schema(
            [
                ColSpec(text, "answer"),
                ColSpec(text, "edit", required=False),
                ColSpec(text, "block", required=False),
                ColSpec(number, "distance", required=False),
                ColSpec(number, "radius", required=False),
                ColSpec(text, "version"),
            ]
        ),
    )
