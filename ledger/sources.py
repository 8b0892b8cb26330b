"""Sources: how far each is trusted, what became of its lines, and what stands on it alone."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger import states
from ledger.errors import UnknownId
from ledger.removals import end_or_request
from ledger.store import Connection, Store
from ledger.types import SourceState


class Sources:
    """Those who report."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[SourceState]:
        """Every source with its trust, its policy and what became of its lines."""
        rows = self._store.rows(
            """SELECT s.source, s.trust, s.policy, s.quorum, s.max_per_hour, s.blocked,
                          s.first_seen, coalesce(a.reports, 0), coalesce(a.accepted, 0),
                          coalesce(a.duplicates, 0), coalesce(a.quarantined, 0),
                          coalesce(a.active, 0), coalesce(a.rejected, 0)
                FROM sources s LEFT JOIN acceptance a USING (source) ORDER BY s.source"""
        )
        return [SourceState(*row) for row in rows]

    def block(
        self, source: str, *, actor: str, reason: str, now: datetime | None = None
    ) -> tuple[list[str], list[str]]:
        """Block a source and revoke every edit that no other source stands behind.

        Returns (revoked at once, active ones to be taken out with the next version).
        """
        by = states.Provenance(now or datetime.now(UTC), actor)
        with self._store.write() as con:
            _block(con, source, True)
            reason = f"source {source} was blocked: {reason}"
            return end_or_request(con, self.only_from(source), states.REVOKED, reason, by)

    def unblock(self, source: str) -> None:
        """Take lines of a source again.

        What was revoked stays revoked. What is held as `blocked` is judged anew once it is
        reported again.
        """
        with self._store.write() as con:
            _block(con, source, False)

    def only_from(self, source: str) -> list[str]:
        """Edits in use or waiting that no other source stands behind, save blocked ones."""
        rows = self._store.rows(
            """SELECT DISTINCT r.edit_id FROM reports r JOIN edit_states s USING (edit_id)
                WHERE r.source = $source
                  AND s.state IN ('received', 'held', 'ready', 'planned', 'trained', 'active')
                  AND NOT EXISTS (
                    SELECT 1 FROM reports o JOIN sources q USING (source)
                    WHERE o.edit_id = r.edit_id AND o.source <> $source AND NOT q.blocked)""",
            {"source": source},
        )
        return [row[0] for row in rows]


def _block(con: Connection, source: str, blocked: bool) -> None:
    updated = con.execute(
        "UPDATE sources SET blocked = ? WHERE source = ? RETURNING source", [blocked, source]
    ).fetchall()
    if not updated:
        raise UnknownId(f"no source {source!r} is on record. See `melo sources list`.")
