"""Wordings of an edit's question: those that a version took up later, and those it does not find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ledger.store import Store


class Wordings:
    """How else an edit is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note_narrow(
        self,
        version_id: str,
        narrow: Mapping[str, Iterable[str]],
        *,
        judged: Iterable[str],
    ) -> None:
        """Record which of the judged edits a version does not find in which wordings."""
        at = datetime.now(UTC)
        with self._store.write() as con:
            con.execute(
                "DELETE FROM narrow WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))", [list(judged)]
            )
            for edit, wordings in narrow.items():
                con.execute(
                    "INSERT INTO narrow VALUES (?, ?, ?, ?)", [edit, list(wordings), version_id, at]
                )

    def narrow(self) -> dict[str, tuple[str, ...]]:
        """Edits in force, or about to be, that are not found in some wordings, with those."""
        rows = self._store.rows(
            "SELECT n.edit_id, n.wordings FROM narrow n JOIN edit_states s USING (edit_id) "
            "WHERE s.state IN ('trained', 'active') ORDER BY n.noted_at, n.edit_id"
        )
        return {str(edit): tuple(wordings) for edit, wordings in rows}

    def record(
        self,
        edit_id: str,
        wordings: Iterable[str],
        *,
        actor: str,
        version: str,
    ) -> None:
        """Record wordings of an edit's question that a version has taken up without training."""
        with self._store.write() as con:
            con.executemany(
                "INSERT INTO wordings VALUES (?, ?, ?, ?, ?)",
                [[edit_id, w, actor, version, datetime.now(UTC)] for w in wordings],
            )
