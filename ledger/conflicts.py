"""Conflicts on record: which edits contradict each other, and what was decided by which rule."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.store import Store
from ledger.types import ConflictRecord


class Conflicts:
    """Contradictions between edits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, *, edit_id: str | None = None) -> list[ConflictRecord]:
        """Contradictions and how each was decided, oldest first."""
        rows = self._store.rows(
            """SELECT c.winner, c.loser, c.rule, c.key, c.decided_at, c.settled,
                          w.prompt, w.target, l.prompt, l.target
                FROM contests c LEFT JOIN edits w ON w.edit_id = c.winner
                JOIN edits l ON l.edit_id = c.loser
                WHERE $id IS NULL OR c.winner = $id OR c.loser = $id ORDER BY c.rowid""",
            {"id": edit_id},
        )
        return [ConflictRecord(*row) for row in rows]

    def lost(self, edit_ids: Iterable[str]) -> list[str]:
        """Those of the edits that can't become active: they lost to one that is."""
        rows = self._store.rows(
            "SELECT DISTINCT c.loser FROM contests c JOIN edit_states w "
            "ON w.edit_id = c.winner WHERE w.state = 'active' AND NOT c.settled "
            "AND c.loser IN (SELECT unnest(?::VARCHAR[]))",
            [list(edit_ids)],
        )
        return [row[0] for row in rows]
