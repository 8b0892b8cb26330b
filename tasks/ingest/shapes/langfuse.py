"""Langfuse: scores, and traces or observations with or without their scores.

Public API of Langfuse 3 (https://api.reference.langfuse.com, scores v1 to v3), its exports to blob
storage (https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields, names
with underscores) and corrections (https://langfuse.com/docs/observability/features/corrections): a
score with `dataType` CORRECTION and the name `output` holds the right output. Read November 2026.

A score names its trace or observation by id: give both exports in one command. Enriched observations
(`observations_v2`) come without traces: there a trace's root observation says what was asked. Of the
scores of a trace the newest correction counts, else the newest thumbs-down of a person. What a number
means is told by the score's dataType (BOOLEAN), by its config (`minValue`, `maxValue`), which its row
may hold or a file given in the same command, or by its name; without these it says nothing.
"""

from __future__ import annotations

from typing import Any

from tasks.ingest.shapes.shape import (
    Fields,
    Join,
    NothingToCorrect,
    Origin,
    Row,
    Shape,
    Unusable,
)
from tasks.ingest.shapes.values import (
    Exchange,
    Scale,
    answer_in,
    corrected,
    judgement,
    scale_between,
)

_OF_SCORES = ("traceId", "trace_id", "observationId", "subject")


def _either(row: Row, camel: str, snake: str) -> Any:
    return row.get(camel, row.get(snake))


def _is_score(row: Row) -> bool:
    return "name" in row and bool(row.get("dataType") or row.get("data_type"))


def _is_config(row: Row) -> bool:
    return "isArchived" in row or "is_archived" in row


def _recognises(row: Row) -> bool:
    if _is_score(row):
        return any(key in row for key in _OF_SCORES) or _is_config(row)
    about_langfuse = any(
        key in row
        for key in ("projectId", "project_id", "htmlPath", "traceId", "trace_id", "environment")
    )
    return "id" in row and "input" in row and "output" in row and about_langfuse


def _about(row: Row) -> list[str]:
    if not _is_score(row):
        return []
    subject = row.get("subject") if isinstance(row.get("subject"), dict) else {}
    assert isinstance(subject, dict)
    ids = [
        _either(row, "observationId", "observation_id"),
        subject.get("id"),
        _either(row, "traceId", "trace_id"),
        subject.get("traceId"),
    ]
    return [name for name in ids if isinstance(name, str) and name]


def _id_of(row: Row) -> str | None:
    return None if _is_score(row) and not _is_config(row) else row.get("id")


def _trace_of_root(row: Row) -> str | None:
    """The trace whose root observation a row is, where it says what was asked."""
    if _is_score(row) or _either(row, "parentObservationId", "parent_observation_id"):
        return None
    trace = _either(row, "traceId", "trace_id")
    return trace if isinstance(trace, str) and row.get("input") else None


def _config_of(row: Row) -> str | None:
    return _either(row, "configId", "config_id") if _is_score(row) else None


def _right_output(score: Row) -> str | None:
    if _either(score, "dataType", "data_type") != "CORRECTION":
        return None
    texts = (
        _either(score, "stringValue", "string_value"),
        score.get("value"),
        _either(score, "longStringValue", "long_string_value"),
    )
    return next((text for text in texts if isinstance(text, str) and text), None)


def _is_thumbs_down(score: Row) -> bool:
    value = _either(score, "stringValue", "string_value")
    value = score.get("value") if value is None else value
    verdict = judgement(value, score.get("name"), _scale(score))
    return verdict is False and score.get("source") != "EVAL"


def _scale(score: Row) -> Scale | None:
    if _either(score, "dataType", "data_type") == "BOOLEAN":
        return 0, 1
    config = score.get("config")
    if not isinstance(config, dict):
        return None
    ends = (_either(config, f"{end}Value", f"{end}_value") for end in ("min", "max"))
    return scale_between(*ends)


def _report(row: Row) -> Fields:
    if _is_config(row):
        raise NothingToCorrect("the configuration of a score, which says how its scores are read")
    if _is_score(row):
        if _right_output(row) is None and not _is_thumbs_down(row):
            raise NothingToCorrect(f"score {row.get('name')!r} is no correction and no thumbs-down")
        if not isinstance(row.get("about"), dict):
            raise Unusable(
                f"the trace {', '.join(_about(row))} of this score is not in the files given; give "
                "the export of traces or observations in the same command"
            )
        return _corrected(row, row["about"])
    scores = [score for score in row.get("scores") or () if isinstance(score, dict)]
    scores.sort(key=lambda score: str(_either(score, "timestamp", "created_at")), reverse=True)
    chosen = next((score for score in scores if _right_output(score)), None)
    chosen = chosen or next((score for score in scores if _is_thumbs_down(score)), None)
    if chosen is None:
        raise NothingToCorrect("the trace has no score that is a correction or a thumbs-down")
    inner = {
        part.get("id"): part for part in row.get("observations") or () if isinstance(part, dict)
    }
    return _corrected(chosen, inner.get(_either(chosen, "observationId", "observation_id"), row))


def _corrected(score: Row, about: Row) -> Fields:
    right = _right_output(score)
    return corrected(
        Exchange(about.get("input"), about.get("output")),
        id=score.get("id"),
        source="langfuse",
        right=answer_in(right) if right else None,
        at=score.get("timestamp"),
        comment=score.get("comment"),
    )


def _origin(row: Row) -> Origin | None:
    """The trace and the observation that were judged."""
    about = row.get("about") if _is_score(row) else row
    if not isinstance(about, dict):
        return None
    trace = _either(row, "traceId", "trace_id") or _either(about, "traceId", "trace_id")
    span = _either(row, "observationId", "observation_id")
    if trace is None and not _is_score(row):
        return Origin(row["id"])
    trace = trace or about.get("id")
    return Origin(str(trace), span) if trace else None


SHAPE = Shape(
    name="langfuse",
    tool="Langfuse",
    reads="scores (CORRECTION, thumbs-down) with their traces or observations",
    recognises=_recognises,
    report=_report,
    join=Join(_about, _id_of, _config_of, _trace_of_root),
    page="data",
    origin=_origin,
    columns=("traceId", "trace_id", "dataType", "data_type", "input", "output"),
)
