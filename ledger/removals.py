"""Edits that are to go: at once where no version holds them, else with the next version.

    request ──► in no version: ends now
            └─► active: a row in `retirements` ──► planned in a job ──► its version serves: ends

An active edit keeps its state until a version without it serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ledger import states
from ledger.identifiers import full_id
from ledger.store import Connection, Store, column


class Removals:
    """Edits that somebody or a date has asked to go."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def request(
        self,
        edit_ids: Iterable[str],
        *,
        to: str = states.REVOKED,
        actor: str,
        reason: str,
        now: datetime | None = None,
    ) -> tuple[list[str], list[str]]:
        """Retire edits. Returns (ended at once, to be taken out with the next version).

        An edit in a version keeps its state until `activate` is called with a version whose
        `edits_removed` names it.
        """
        by = states.Provenance(now or datetime.now(UTC), actor)
        with self._store.write() as con:
            ids = [full_id(con, edit_id) for edit_id in edit_ids]
            return end_or_request(con, ids, to, reason, by)

    def finish(
        self,
        edit_ids: Iterable[str],
        version: str,
        *,
        actor: str,
        reason: str,
    ) -> None:
        """Revoke active edits whose keys a promoted version no longer holds."""
        by = states.Provenance(datetime.now(UTC), actor, version)
        with self._store.write() as con:
            ids = [full_id(con, edit_id) for edit_id in edit_ids]
            states.move(con, ids, states.REVOKED, reason, by)
            con.execute(
                "UPDATE retirements SET done = true WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )

    def carry_out(self, edit_ids: Iterable[str], version: str, *, actor: str) -> list[str]:
        """End the active edits whose removal was requested, now that `version` serves; returns them.

        The others keep their state.
        """
        with self._store.write() as con:
            ids = [full_id(con, edit_id) for edit_id in edit_ids]
            return end_requested(con, ids, states.Provenance(datetime.now(UTC), actor, version))

    def versions(self) -> list[str]:
        """Versions of ended jobs that lack an active edit which was asked to go."""
        rows = self._store.rows(
            "SELECT DISTINCT j.version FROM retirements r JOIN jobs j USING (job_id) "
            "JOIN edit_states s USING (edit_id) WHERE NOT r.done AND s.state = 'active' "
            "AND j.state = 'done' AND j.version IS NOT NULL ORDER BY j.version"
        )
        return [row[0] for row in rows]

    def plan_anew(self, *, waiting: Iterable[str] = ()) -> int:
        """Let removals be planned anew whose job ended without them; returns how many.

        waiting: versions that may still be promoted; removals that they carry out stay theirs.
        """
        with self._store.write() as con:
            freed = con.execute(
                "UPDATE retirements SET job_id = NULL WHERE NOT done AND job_id IN ("
                "SELECT job_id FROM jobs WHERE state IN ('done', 'failed') AND (version IS NULL "
                "OR version NOT IN (SELECT unnest(?::VARCHAR[])))) RETURNING edit_id",
                [list(waiting)],
            ).fetchall()
        return len(freed)


def end_or_request(
    con: Connection, ids: list[str], to: str, reason: str, by: states.Provenance
) -> tuple[list[str], list[str]]:
    """End edits that are in no version; note the others for the next job."""
    active = set(
        column(
            con.execute(
                "SELECT edit_id FROM edit_states WHERE edit_id IN (SELECT unnest(?::VARCHAR[])) "
                "AND state = 'active'",
                [ids],
            )
        )
    )
    at_once = [edit_id for edit_id in ids if edit_id not in active]
    states.move(con, at_once, to, reason, by)
    later = [edit_id for edit_id in ids if edit_id in active]
    for edit_id in later:
        con.execute(
            "INSERT INTO retirements SELECT ?, ?, ?, ?, ?, NULL, false WHERE NOT EXISTS ("
            "SELECT 1 FROM retirements WHERE edit_id = ? AND NOT done)",
            [edit_id, to, by.at, by.actor, reason, edit_id],
        )
    return at_once, later


def end_requested(con: Connection, ids: list[str], by: states.Provenance) -> list[str]:
    """End those of the edits that are active and whose removal was requested; returns them."""
    requested = con.execute(
        "SELECT r.edit_id, any_value(r.to_state)::VARCHAR, any_value(r.reason) FROM retirements r "
        "JOIN edit_states s USING (edit_id) WHERE NOT r.done AND s.state = 'active' "
        "AND r.edit_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY r.edit_id",
        [ids],
    ).fetchall()
    states.move_each(con, [states.Step(*row) for row in requested], by)
    ended = [edit_id for edit_id, _, _ in requested]
    con.execute(
        "UPDATE retirements SET done = true WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))", [ended]
    )
    return ended
