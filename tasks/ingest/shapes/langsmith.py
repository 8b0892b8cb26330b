"""LangSmith: feedback with its runs, and the examples of a dataset.

https://docs.langchain.com/langsmith/feedback-data-format, .../run-data-format and
.../example-data-format; langsmith 0.6 (`Client.list_feedback`, `list_runs`, `list_examples`, one
JSON object each). Read November 2026.

Feedback names its run by id: give both in one command, or in one file. A `correction` is the right
output; feedback of a person without one counts where its score is a thumbs-down. What a number
means is told by `feedback_config` (`min`, `max`, or the label of its category) or by the key; without
these it says nothing.
"""

from __future__ import annotations

from typing import Any

from tasks.ingest.shapes.shape import Fields, Join, NothingToCorrect, Row, Shape, Unusable
from tasks.ingest.shapes.values import (
    Exchange,
    Scale,
    answer_in,
    corrected,
    judgement,
    scale_between,
)


def _is_feedback(row: Row) -> bool:
    return "run_id" in row and "key" in row


def _recognises(row: Row) -> bool:
    return _is_feedback(row) or (
        isinstance(row.get("inputs"), dict)
        and (isinstance(row.get("outputs"), dict) or "run_type" in row or "dataset_id" in row)
    )


def _about(row: Row) -> list[str]:
    ids = (row.get("run_id"), row.get("trace_id")) if _is_feedback(row) else ()
    return [name for name in ids if isinstance(name, str) and name]


def _id_of(row: Row) -> str | None:
    return row.get("id") if "run_type" in row else None


def _report(row: Row) -> Fields:
    if _is_feedback(row):
        return _corrected(row)
    if "run_type" in row:
        raise NothingToCorrect("a run, which says no more than what its feedback is about")
    return corrected(
        Exchange(row["inputs"]),
        id=row.get("id"),
        source="langsmith",
        right=answer_in(row.get("outputs")),
        at=row.get("modified_at") or row.get("created_at"),
    )


def _corrected(row: Row) -> Fields:
    correction = row.get("correction")
    right = None if isinstance(correction, bool) else answer_in(correction)  # it may be the score's
    origin = row.get("feedback_source")
    by_model = isinstance(origin, dict) and origin.get("type") == "model"
    verdict = judgement(*_judged(row))
    if right is None and (verdict is not False or by_model):
        raise NothingToCorrect(f"feedback {row['key']!r} is no correction and no thumbs-down")
    run = row.get("about")
    if not isinstance(run, dict):
        raise Unusable(
            f"the run {row['run_id']} of this feedback is not in the files given; give the runs in "
            "the same command"
        )
    return corrected(
        Exchange(run.get("inputs"), run.get("outputs")),
        id=row.get("id"),
        source="langsmith",
        right=right,
        at=row.get("created_at"),
        comment=row.get("comment"),
    )


def _judged(row: Row) -> tuple[Any, Any, Scale | None]:
    """What was given, the name it was given under, and the scale of a number."""
    score = row.get("value") if row.get("score") is None else row.get("score")
    config = row.get("feedback_config")
    if not isinstance(config, dict):
        return score, row["key"], None
    for category in config.get("categories") or ():
        if category.get("value") == score and category.get("label"):
            return category["label"], row["key"], None
    return score, row["key"], scale_between(config.get("min"), config.get("max"))


SHAPE = Shape(
    name="langsmith",
    tool="LangSmith",
    reads="feedback with its runs, examples of a dataset",
    recognises=_recognises,
    report=_report,
    join=Join(_about, _id_of),
    columns=("run_id", "key", "score", "correction", "run_type", "inputs", "outputs"),
)
