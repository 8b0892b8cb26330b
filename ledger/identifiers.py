"""Ids of edits as people give them: whole, or shortened to a beginning that fits one edit."""

from __future__ import annotations

from ledger.errors import UnknownId
from ledger.store import Connection


def full_id(con: Connection, edit_id: str) -> str:
    """The one edit that a prefix of at least four characters names; a whole id as it stands.

    Raises UnknownId for a prefix that fits none or several.
    """
    if len(edit_id) == 32:
        return edit_id
    matches = con.execute(
        "SELECT edit_id FROM edits WHERE length(?) >= 4 AND starts_with(edit_id, ?) LIMIT 2",
        [edit_id, edit_id],
    ).fetchall()
    if len(matches) == 1:
        return str(matches[0][0])
    raise unknown_edit(edit_id, "fits several edits" if matches else "is not on record")


def unknown_edit(edit_id: str, problem: str = "is not on record") -> UnknownId:
    """The error for an id that names no edit."""
    return UnknownId(f"edit {edit_id!r} {problem}. See `melo edits list`.")
