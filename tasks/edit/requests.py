"""An edit of the ledger as the engine takes it."""

from __future__ import annotations

from ledger import EditRecord
from melo_engine import Conversation, EditRequest, Prompt


def request_of(edit: EditRecord) -> EditRequest:
    """An edit of the ledger as the engine takes it; its rephrases are trained on and indexed."""
    prompt: Prompt = edit.prompt
    if edit.messages:
        prompt = Conversation.of([{"role": r, "content": text} for r, text in edit.messages])
    return EditRequest(
        prompt,
        edit.target or "",
        subject=edit.subject,
        aliases=edit.aliases,
        rephrases=edit.rephrases,
        locality=tuple(probe.prompt for probe in edit.locality),
        id=edit.id,
        subject_source="inferred" if edit.subject_source == "inferred" else "given",
    )
