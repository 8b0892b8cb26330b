"""What an operator should hear of, as Prefect events; automations.yaml says what becomes of them.

    melo.version.promoted    melo.version.rejected    melo.job.set-aside    melo.backlog.old

Outside a flow, or where the server is away, nothing is lost but the message: the ledger has it all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prefect.events import emit_event

from execution.context import Context
from ledger import Backlog

Alert = Literal["version.promoted", "version.rejected", "job.set-aside", "backlog.old"]


def tell(context: Context, alert: Alert, message: str, **details: object) -> None:
    """Emit one event about the home, whose readers see by then what it is about.

    details: short values that JSON can hold; never a secret.
    """
    context.publish()
    emit_event(
        f"melo.{alert}",
        resource={"prefect.resource.id": f"melo.home.{context.settings.home}"},
        payload={"message": message, **details},
    )


def tell_of_backlog(context: Context, backlog: Backlog) -> None:
    """Tell of an edit that has waited for longer than `alerts.backlog_hours`, if there is one."""
    if backlog.oldest is None:
        return
    hours = (datetime.now(UTC) - backlog.oldest).total_seconds() / 3600
    if hours >= context.settings.alerts.backlog_hours:
        message = f"{backlog.edits} edits wait, the oldest for {hours:.1f} hours"
        tell(context, "backlog.old", message, waiting=backlog.edits, hours=round(hours, 2))
