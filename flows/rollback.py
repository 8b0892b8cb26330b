"""On demand: an earlier version serves again."""

from __future__ import annotations

from prefect import flow

from execution.context import opened
from tasks.steps import go_back


@flow(name="rollback", description=__doc__)
def rollback(home: str, version: str | None = None, reason: str = "rolled back") -> str:
    """Let `version`, or the champion before this one, serve; its id."""
    with opened(home) as context:
        return go_back(context, version, reason)
