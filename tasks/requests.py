"""An edit of the ledger as the engine takes it."""

from __future__ import annotations

from ledger import Edit
from melo_engine import EditRequest

NEAR = 500  # other edits that wait, to make near-misses from


def request_of(edit: Edit) -> EditRequest:
    """An edit of the ledger as the engine takes it; the last rephrase is kept for the gate."""
    return EditRequest(
        edit.prompt,
        edit.target or "",
        subject=edit.subject,
        aliases=edit.aliases,
        rephrases=edit.rephrases[:-1],
        locality=tuple(probe.prompt for probe in edit.locality),
        id=edit.id,
    )
