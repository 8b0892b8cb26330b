"""Conflicts on record: which edits contradict each other, and what was decided by which rule."""

from __future__ import annotations

from collections.abc import Iterable

from ledger import settling
from ledger.store import Store
from ledger.types import ConflictRecord


class Conflicts:
    """Contradictions between edits."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, *, edit_id: str | None = None) -> list[ConflictRecord]:
        """Contradictions and how each was decided, oldest first."""
        rows = self._store.rows(_CONFLICTS, {"id": edit_id})
        return [ConflictRecord(*row) for row in rows]

    def both_right(self) -> set[frozenset[str]]:
        """Pairs of edits that a person found both right, so that they are no contradiction."""
        with self._store.read() as con:
            return settling.both_right(con)

    def lost(self, edit_ids: Iterable[str]) -> list[str]:
        """Those of the edits that can't become active: they lost to one that is."""
        rows = self._store.rows(
            "SELECT DISTINCT c.loser FROM contests c JOIN edit_states w "
            "ON w.edit_id = c.winner WHERE w.state = 'active' AND NOT c.settled "
            "AND c.loser IN (SELECT unnest(?::VARCHAR[]))",
            [list(edit_ids)],
        )
        return [row[0] for row in rows]


# Where nobody has won, the other side is who asks the same question and has not ended.
_CONFLICTS = """
WITH chosen AS (
    SELECT rowid AS place, * FROM contests
    WHERE $id IS NULL OR winner = $id OR loser = $id),
rivals AS (
    SELECT c.loser, min(r.edit_id) AS rival
    FROM chosen c JOIN questions q ON q.edit_id = c.loser JOIN questions r ON r.key = q.key
         JOIN edit_states s ON s.edit_id = r.edit_id
         JOIN edits o ON o.edit_id = r.edit_id JOIN edits l ON l.edit_id = c.loser
    WHERE c.winner IS NULL AND NOT c.settled AND r.edit_id <> c.loser AND o.target <> l.target
      AND s.state NOT IN ('rejected', 'superseded', 'revoked', 'expired')
    GROUP BY c.loser)
SELECT c.winner, c.loser, c.rule, c.key, c.decided_at, c.settled, w.prompt, w.target, l.prompt,
       l.target, v.rival, r.target
FROM chosen c JOIN edits l ON l.edit_id = c.loser LEFT JOIN edits w ON w.edit_id = c.winner
     LEFT JOIN rivals v ON c.winner IS NULL AND v.loser = c.loser
     LEFT JOIN edits r ON r.edit_id = v.rival
ORDER BY c.place
"""
