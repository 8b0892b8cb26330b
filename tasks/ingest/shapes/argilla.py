"""Argilla: records, flat as `records.to_datasets()` or nested as `dataset.to_disk()` writes them.

Argilla 2.8 (https://github.com/argilla-io/argilla, argilla/src/argilla/records/_io/_generic.py):
flat, a question Q has its responses in the lists `Q.responses`, `Q.responses.users` and
`Q.responses.status`; nested, in `responses[Q]`, a list of {"value", "user_id", "status"}. The first
submitted text is the right answer, under a question named as an answer first; a label like "wrong"
is a thumbs-down. Suggestions are no answers: a model may have made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.ingest.shapes.shape import Fields, NothingToCorrect, Row, Shape
from tasks.ingest.shapes.values import ANSWER_NAMES, corrected, judgement, name_of, named_exchange

RESPONSES = ".responses"


def _recognises(row: Row) -> bool:
    nested = isinstance(row.get("fields"), dict) and "responses" in row
    return nested or any(name.endswith((RESPONSES, ".suggestion")) for name in row)


def _report(row: Row) -> Fields:
    responses = sorted(_submitted(row), key=lambda pair: pair[0] not in ANSWER_NAMES)
    verdicts = [judgement(value) for _, value in responses]
    right = [
        value
        for (_, value), verdict in zip(responses, verdicts, strict=True)
        if isinstance(value, str) and value.strip() and verdict is None
    ]
    if not right and False not in verdicts:
        raise NothingToCorrect("no submitted response holds a text or denies the answer")
    fields = row["fields"] if isinstance(row.get("fields"), dict) else row
    return corrected(
        named_exchange(fields, ("response", "completion", "generation", *ANSWER_NAMES[:-2])),
        id=name_of(row.get("id")),
        source="argilla",
        right=right[0] if right else None,
        at=row.get("updated_at"),
    )


def _submitted(row: Row) -> Iterator[tuple[str, Any]]:
    """Question and value of each response that was submitted."""
    if isinstance(row.get("responses"), dict):
        for question, answers in row["responses"].items():
            for response in answers or ():
                if response.get("status", "submitted") in ("submitted", None):
                    yield question, response.get("value")
        return
    for name, values in row.items():
        if name.endswith(RESPONSES) and isinstance(values, list):
            states = row.get(f"{name}.status") or [None] * len(values)
            for value, status in zip(values, states, strict=False):
                if status in ("submitted", None):
                    yield name.removesuffix(RESPONSES), value


SHAPE = Shape(
    name="argilla",
    tool="Argilla",
    reads="records with responses, exported as a dataset or to disk",
    recognises=_recognises,
    report=_report,
    columns=("fields", "responses"),
)
