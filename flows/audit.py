"""Nightly: the champion answers every probe anew, dates are kept, quarantined lines are retried."""

from __future__ import annotations

from prefect import flow

from execution.context import opened
from tasks.steps import audit_champion, call_for_editing, keep_dates, retry_lines


@flow(name="audit", description=__doc__)
def audit(home: str) -> bool:
    """Whether the champion still passes its gate; True where there is none yet."""
    with opened(home) as context:
        passed = audit_champion(context)
        keep_dates(context)
        retry_lines(context)
        call_for_editing(context)
    return passed
