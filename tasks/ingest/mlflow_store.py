"""Traces with assessments from a tracking server of MLflow: what is new since the last run.

    list the traces ──► those whose assessments are not on record ──► fetch each ──► ledger

An experiment is one input of the ledger that never ends. What is new is told by what stands on
record: a trace counts again once an assessment of it is added or changed. So a run that fails
midway, or runs beside another one, is completed by the next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from execution.progress import Progress
from ledger import FileMoved
from registry.asking import first_line
from registry.assessments import KEY
from registry.client import import_mlflow
from tasks.ingest import formats
from tasks.ingest.errors import IngestError
from tasks.ingest.lines import Chunk
from tasks.ingest.shapes.adapt import adapted
from tasks.ingest.shapes.mlflow_traces import SHAPE
from tasks.ingest.taking import FileOutcome, Taker

TRACES_AT_ONCE = 200  # whose reports are committed together
TRACES_ON_A_PAGE = 500  # the most that a server gives


def take_experiment(
    taker: Taker,
    experiment: str,
    result: FileOutcome,
    progress: Progress | None = None,
    *,
    source: str | None = None,
    again: bool = False,
) -> None:
    """Take the traces of an experiment, by its name or id, that have new assessments.

    again: take those that are on record once more. Raises IngestError where the server has no such
    experiment or fails; what it gave before that is taken.
    """
    settings = taker.settings
    uri = settings.ingest.mlflow_tracking_uri or settings.tracking_uri
    client, experiment_id = _opened(uri, experiment)
    content = hashlib.sha256(f"mlflow\0{uri}\0{experiment_id}".encode()).hexdigest()
    record = taker.ledger.intake.begin_file(result.name, content, source=source, again=again)
    taken = taker.ledger.intake.taken_ids(record)
    try:
        waiting = [
            (key, trace) for key, trace in _assessed(client, experiment_id) if key not in taken
        ]
    except Exception as error:
        raise _failed(uri, error, "its traces could not be listed") from error
    result.known_before = not waiting and record.lines > 0
    for begin in range(0, len(waiting), TRACES_AT_ONCE):
        rows, failure = _rows(client, waiting[begin : begin + TRACES_AT_ONCE])
        lines = formats.table(record.lines, rows, settings.ingest.max_line_bytes)
        for chunk in adapted(iter([Chunk(lines, 0, False)]), SHAPE):
            try:
                record = taker.take(record, chunk, result, SHAPE)
            except FileMoved:  # another process took some of them meanwhile: see what is left
                take_experiment(taker, experiment, result, progress, source=source)
                return
        done = begin + len(rows)
        if progress:
            progress(result.name, done, len(waiting))
        if failure is not None:
            raise _failed(uri, failure, f"{done} of {len(waiting)} new traces are taken")


def _rows(
    client: Any, traces: list[tuple[str, Any]]
) -> tuple[list[tuple[str, str | None]], Exception | None]:
    """Traces with their spans, each as a row that begins with its key, up to a failure."""
    rows: list[tuple[str, str | None]] = []
    for key, trace in traces:
        try:
            content = client.get_trace(trace.info.trace_id, display=False).to_dict()
        except Exception as error:
            return rows, error
        content["info"]["assessments"] = [a.to_dictionary() for a in trace.info.assessments]
        rows.append((formats.to_json({"id": key, **content}), None))
    return rows, None


def _opened(uri: str, experiment: str) -> tuple[Any, str]:
    """A client of the server, and the experiment's id."""
    try:
        client = import_mlflow().MlflowClient(tracking_uri=uri)
        match = client.get_experiment_by_name(experiment)
        listed = [] if match else client.search_experiments()
    except Exception as error:
        raise _failed(uri, error, "nothing was read") from error
    for other in listed:
        match = other if other.experiment_id == experiment else match
    if match is None:
        names = ", ".join(sorted(other.name for other in listed)[:20])
        raise IngestError(f"no experiment {experiment!r} at {_redacted(uri)}. There are: {names}.")
    return client, str(match.experiment_id)


def _assessed(client: Any, experiment_id: str) -> Iterator[tuple[str, Any]]:
    """The traces that have assessments, oldest first, each under a key of its assessments' state."""
    token = None
    while True:
        page = client.search_traces(
            [experiment_id],
            order_by=["timestamp_ms ASC"],
            page_token=token,
            max_results=TRACES_ON_A_PAGE,
            include_spans=False,
        )
        for trace in page:
            state = sorted(
                (str(a.assessment_id), str(a.last_update_time_ms), str(a.valid))
                for a in trace.info.assessments
                if KEY not in (a.metadata or {})  # what was written back is no news
            )
            if state:
                digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
                yield f"{trace.info.trace_id}@{digest}", trace
        token = page.token
        if not token:
            return


def _failed(uri: str, error: Exception, state: str) -> IngestError:
    return IngestError(
        _redacted(
            f"MLflow at {uri} failed: {_reason(error)} ({state}). "
            "Run it again: it goes on from there."
        )
    )


def _reason(error: Exception) -> str:
    """What went wrong, in one line; of repeated requests the last answer."""
    answered = re.search(r"too many (\d{3}) error responses", str(error))
    if answered:
        return f"it answered {answered[1]}, however often it was asked"
    return first_line(error)[:200]


def _redacted(text: str) -> str:
    """A text without the names and passwords that addresses in it may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)
