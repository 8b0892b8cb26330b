"""The main job once: take in what waits, then edit until nothing is left."""

from __future__ import annotations

from typing import Any

from prefect import flow

from execution.context import opened
from flows.edit import edit
from flows.ingest import ingest


@flow(name="main", description=__doc__)
def main(home: str, paths: tuple[str, ...] = ()) -> dict[str, Any]:
    """What was taken in, and what the gate said about each job."""
    with opened(home):
        return {"taken_in": ingest(home, paths), "verdicts": edit(home)}
