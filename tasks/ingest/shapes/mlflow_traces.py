"""MLflow: traces with assessments, as `Trace.to_dict` writes them.

MLflow 3.17 (`mlflow.entities.Trace`, `log_feedback`, `log_expectation`;
https://mlflow.org/docs/latest/genai/assessments). An expectation that is a text or a number is the
right answer; without one the newest feedback counts that is a thumbs-down and no model's judgement
(`log_feedback` without a source says CODE). Assessments that were overridden do not count.
tasks/ingest/mlflow_store.py reads traces from a tracking server.
"""

from __future__ import annotations

import json

from registry.assessments import KEY
from tasks.ingest.shapes.shape import Fields, NothingToCorrect, Origin, Row, Shape
from tasks.ingest.shapes.values import (
    ANSWER_NAMES,
    Answer,
    Exchange,
    answer_in,
    corrected,
    judgement,
)

JUDGES = ("LLM_JUDGE", "AI_JUDGE")


def _recognises(row: Row) -> bool:
    info = row.get("info")
    return isinstance(info, dict) and ("trace_id" in info or "request_id" in info)


def _report(row: Row) -> Fields:
    info = row["info"]
    valid = [
        a
        for a in info.get("assessments") or ()
        # One with our own key is our own word that an edit serves.
        if a.get("valid", True) is not False and KEY not in (a.get("metadata") or {})
    ]
    valid.sort(key=lambda a: str(a.get("last_update_time") or a.get("create_time")), reverse=True)
    right = [(a, answer) for a in valid if (answer := _expected(a)) is not None]
    right.sort(key=lambda pair: pair[0].get("assessment_name") not in ANSWER_NAMES)
    chosen, target = right[0] if right else (next(filter(_is_thumbs_down, valid), None), None)
    if chosen is None:
        raise NothingToCorrect("the trace has no expected answer and no thumbs-down")
    return corrected(
        _exchange(row, chosen.get("span_id")),
        id=row.get("id") or chosen.get("assessment_id"),
        source="mlflow",
        right=target,
        at=chosen.get("last_update_time") or chosen.get("create_time"),
        comment=chosen.get("rationale"),
    )


def _expected(assessment: Row) -> Answer | None:
    expectation = assessment.get("expectation")
    if not isinstance(expectation, dict):
        return None
    value = expectation.get("value")
    if "serialized_value" in expectation:
        value = json.loads(expectation["serialized_value"]["value"])
    if isinstance(value, bool) and assessment.get("assessment_name") not in ANSWER_NAMES:
        return None  # a judgement, as `is_grounded`
    return None if isinstance(value, list) else answer_in(value)


def _is_thumbs_down(assessment: Row) -> bool:
    feedback, source = assessment.get("feedback"), assessment.get("source") or {}
    return (
        isinstance(feedback, dict)
        and source.get("source_type") not in JUDGES
        and judgement(feedback.get("value"), assessment.get("assessment_name")) is False
    )


def _exchange(row: Row, span_id: str | None) -> Exchange:
    """Inputs and outputs of the span that was judged, else of the root, else their previews."""
    spans = (row.get("data") or {}).get("spans") or ()
    roots = [span for span in spans if not span.get("parent_span_id")]
    judged = [span for span in spans if span_id and span.get("span_id") == span_id]
    span: Row = next(iter([*judged, *roots]), {})
    attributes, info = span.get("attributes") or {}, row["info"]
    inputs, outputs = attributes.get("mlflow.spanInputs"), attributes.get("mlflow.spanOutputs")
    return Exchange(
        info.get("request_preview") if inputs is None else inputs,
        info.get("response_preview") if outputs is None else outputs,
    )


def _origin(row: Row) -> Origin | None:
    trace = row["info"].get("trace_id") or row["info"].get("request_id")
    return Origin(trace) if isinstance(trace, str) else None


SHAPE = Shape(
    name="mlflow",
    tool="MLflow",
    reads="traces with assessments, from a file or a tracking server (mlflow:EXPERIMENT)",
    recognises=_recognises,
    report=_report,
    page="traces",
    columns=("info", "data"),
    origin=_origin,
)
