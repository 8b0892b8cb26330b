"""Label Studio: annotated tasks, as its JSON export has them.

https://labelstud.io/guide/task_format (Label Studio 1.x, read November 2026). The question and the
model's answer stand in `data` under names of the project's own choice; the right answer is what an
annotator wrote into a text area, `ground_truth` before the newest. Choices like "wrong" without a
text are a thumbs-down.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.ingest.shapes.shape import Fields, NothingToCorrect, Row, Shape
from tasks.ingest.shapes.values import ANSWER_NAMES, corrected, judgement, named_exchange


def _recognises(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def _report(row: Row) -> Fields:
    finished = [a for a in row["annotations"] if not a.get("was_cancelled") and a.get("result")]
    finished.sort(key=lambda a: str(a.get("updated_at") or a.get("created_at")), reverse=True)
    finished.sort(key=lambda a: not a.get("ground_truth"))
    written = next(((a, text) for a in finished for text in _texts(a)), None)
    denied = next((a for a in finished if any(judgement(c) is False for c in _choices(a))), None)
    if written is None and denied is None:
        raise NothingToCorrect("no annotation holds a text or denies the answer")
    chosen, target = written or (denied, None)
    assert chosen is not None
    return corrected(
        named_exchange(row["data"], ANSWER_NAMES[:-2]),
        id=chosen.get("id"),
        source="label-studio",
        right=target,
        at=chosen.get("updated_at") or chosen.get("created_at"),
    )


def _texts(annotation: Row) -> Iterator[str]:
    """What was written, under a name for an answer first."""
    areas = [part for part in annotation["result"] if part.get("type") == "textarea"]
    areas.sort(key=lambda part: part.get("from_name") not in ANSWER_NAMES)
    for part in areas:
        text = part["value"].get("text")
        texts = text if isinstance(text, list) else [text]
        yield from (text for text in texts if isinstance(text, str) and text.strip())


def _choices(annotation: Row) -> Iterator[str]:
    for part in annotation["result"]:
        yield from part.get("value", {}).get("choices") or ()


SHAPE = Shape(
    name="label-studio",
    tool="Label Studio",
    reads="annotated tasks of the JSON export",
    recognises=_recognises,
    report=_report,
    columns=("data", "annotations"),
)
