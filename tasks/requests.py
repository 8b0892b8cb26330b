"""An edit of the ledger as the engine takes it."""

from __future__ import annotations

from ledger import Edit
from melo_engine import EditRequest


def request_of(edit: Edit) -> EditRequest:
    """An edit of the ledger as the engine takes it; its rephrases are trained on and indexed."""
    return EditRequest(
        edit.prompt,
        edit.target or "",
        subject=edit.subject,
        aliases=edit.aliases,
        rephrases=edit.rephrases,
        locality=tuple(probe.prompt for probe in edit.locality),
        id=edit.id,
    )
