"""Error reports and facts whose keys are written otherwise: "Prompt", "target ", "Old-Answer".

A header of a table is read so in any case (tasks/ingest/columns.py); this does it for rows of JSON.
"""

from __future__ import annotations

from ledger.staging import DEFAULT_PATHS
from tasks.ingest.shapes.shape import Fields, Row, Shape
from tasks.ingest.shapes.values import names_in, with_names

NAMES = (*DEFAULT_PATHS, "reported_at")


def _recognises(row: Row) -> bool:
    fields = names_in(row, NAMES)
    return bool(fields & {"prompt", "relation"}) and not fields <= set(row)


def _report(row: Row) -> Fields:
    renamed = with_names(row, NAMES)
    return {name: renamed[name] for name in NAMES if renamed.get(name) is not None}


SHAPE = Shape(
    name="report",
    tool="",
    reads="reports and facts, their keys in any case",
    recognises=_recognises,
    report=_report,
    columns=NAMES,
    flat=True,
)
