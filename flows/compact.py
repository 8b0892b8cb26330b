"""Weekly: files that no version on record refers to go, and the read copy is renewed."""

from __future__ import annotations

from prefect import flow

from execution.context import opened
from tasks.steps import sweep


@flow(name="compact", description=__doc__)
def compact(home: str) -> dict[str, int]:
    """How many folders and bytes went."""
    with opened(home) as context:
        return sweep(context)
