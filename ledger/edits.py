"""Edits to look at and to move: lists, histories, contradictions, activation, retirement."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ledger import states
from ledger.errors import IllegalTransition, UnknownId
from ledger.intake import Intake
from ledger.store import Connection, first
from ledger.types import Backlog, Contest, Edit, Locality, Transition


class Edits(Intake):
    """The part of the ledger about edits."""

    def edits(
        self,
        *,
        state: str | None = None,
        ids: Iterable[str] | None = None,
        source: str | None = None,
        hold: str | None = None,
        limit: int | None = None,
    ) -> list[Edit]:
        """Edits in order of arrival. An id may be shortened to a prefix that fits one edit."""
        wanted = None if ids is None else list(ids)
        with self.read() as con:
            if wanted is not None:
                wanted = [_full_id(con, edit_id) for edit_id in wanted]
            rows = con.execute(
                _EDITS,
                {"state": state, "ids": wanted, "source": source, "hold": hold,
                 "limit": 2**62 if limit is None else limit},
            ).fetchall()  # fmt: skip
        return [_edit(row) for row in rows]

    def edit(self, edit_id: str) -> Edit:
        """One edit by its id or an unambiguous prefix. Raises UnknownId."""
        found = self.edits(ids=[edit_id])
        if not found:
            raise _unknown(edit_id)
        return found[0]

    def active_edits(self) -> list[Edit]:
        """What the champion answers differently from the backbone."""
        return self.edits(state=states.ACTIVE)

    def backlog(self) -> Backlog:
        """How many edits wait for a version to serve with, and since when."""
        with self.read() as con:
            row = first(
                con.execute(
                    """SELECT count(*), count(*) FILTER (WHERE s.urgent), min(e.received_at)
                    FROM edit_states s JOIN edits e USING (edit_id)
                    WHERE s.state IN ('ready', 'planned', 'trained')"""
                )
            )
        return Backlog(*row)

    def history(self, edit_id: str) -> list[Transition]:
        """The whole life of an edit, oldest step first. Raises UnknownId."""
        with self.read() as con:
            rows = con.execute(
                "SELECT edit_id, from_state::VARCHAR, to_state::VARCHAR, happened_at, actor, "
                "reason, version, job_id FROM transitions WHERE edit_id = ? ORDER BY rowid",
                [_full_id(con, edit_id)],
            ).fetchall()
        if not rows:
            raise _unknown(edit_id)
        return [Transition(*row) for row in rows]

    def raw_lines(self, edit_id: str) -> list[tuple[str, int, str, str]]:
        """Every line that reported an edit: (file, line, outcome, raw text)."""
        with self.read() as con:
            rows = con.execute(
                "SELECT f.name, r.line, r.outcome::VARCHAR, r.raw FROM reports r "
                "JOIN files f USING (file_id) WHERE r.edit_id = ? ORDER BY r.file_id, r.line",
                [_full_id(con, edit_id)],
            ).fetchall()
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def contests(self, *, edit_id: str | None = None) -> list[Contest]:
        """Contradictions and how each was decided, oldest first."""
        with self.read() as con:
            rows = con.execute(
                """SELECT c.winner, c.loser, c.rule, c.key, c.decided_at, c.settled,
                          w.prompt, w.target, l.prompt, l.target
                FROM contests c LEFT JOIN edits w ON w.edit_id = c.winner
                JOIN edits l ON l.edit_id = c.loser
                WHERE $id IS NULL OR c.winner = $id OR c.loser = $id ORDER BY c.rowid""",
                {"id": edit_id},
            ).fetchall()
        return [Contest(*row) for row in rows]

    def lost(self, edit_ids: Iterable[str]) -> list[str]:
        """Those of the edits that can't become active: they lost to one that is."""
        with self.read() as con:
            rows = con.execute(
                "SELECT DISTINCT c.loser FROM contests c JOIN edit_states w "
                "ON w.edit_id = c.winner WHERE w.state = 'active' AND NOT c.settled "
                "AND c.loser IN (SELECT unnest(?::VARCHAR[]))",
                [list(edit_ids)],
            ).fetchall()
        return [row[0] for row in rows]

    def transition(
        self,
        edit_ids: Iterable[str],
        to: str,
        actor: str,
        reason: str,
        version: str | None = None,
        *,
        now: datetime | None = None,
    ) -> None:
        """Take edits to a state, all or none.

        To `active` use `activate`, which sees to rivals. Raises UnknownId, IllegalTransition.
        """
        if to == states.ACTIVE:
            raise IllegalTransition("edits become active through activate(), with their version.")
        with self.write() as con:
            ids = [_full_id(con, edit_id) for edit_id in edit_ids]
            states.move(
                con, ids, to, at=now or datetime.now(UTC), actor=actor, reason=reason,
                version=version, hold="review" if to == states.HELD else None,
            )  # fmt: skip

    def activate(
        self,
        edit_ids: Iterable[str],
        version: str,
        *,
        actor: str = "promote",
        reason: str = "passed its gate",
        now: datetime | None = None,
    ) -> list[str]:
        """Make trained edits active with the version that holds them, and their losers superseded.

        Requested removals that the version carried out are ended in the same transaction.
        Returns the edits that were superseded. Raises IllegalTransition for an edit whose
        contradiction was decided against it meanwhile.
        """
        at = now or datetime.now(UTC)
        with self.write() as con:
            ids = list(dict.fromkeys(_full_id(con, edit_id) for edit_id in edit_ids))
            beaten = first(
                con.execute(
                    "SELECT c.loser, c.winner FROM contests c JOIN edit_states w "
                    "ON w.edit_id = c.winner WHERE c.loser IN (SELECT unnest(?::VARCHAR[])) "
                    "AND (w.state = 'active' OR c.winner IN (SELECT unnest(?::VARCHAR[]))) "
                    "AND NOT c.settled",
                    [ids, ids],
                )
            )
            if beaten is not None:
                raise IllegalTransition(
                    f"edit {beaten[0]} lost its contradiction to {beaten[1]}, which is active. "
                    "Take it out of the version."
                )
            states.move(con, ids, states.ACTIVE, at=at, actor=actor, reason=reason, version=version)
            losers = [
                (row[0], row[1])
                for row in con.execute(
                    "SELECT c.loser, any_value(c.winner) FROM contests c JOIN edit_states l "
                    "ON l.edit_id = c.loser WHERE NOT c.settled "
                    "AND c.winner IN (SELECT unnest(?::VARCHAR[])) "
                    "AND l.state NOT IN ('rejected', 'superseded', 'revoked', 'expired') "
                    "GROUP BY c.loser",
                    [ids],
                ).fetchall()
            ]
            states.move_each(
                con,
                [(i, states.SUPERSEDED, f"{winner} is active", None) for i, winner in losers],
                at=at, actor=actor, version=version,
            )  # fmt: skip
            con.execute(
                "UPDATE contests SET settled = true WHERE winner IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )
            removed = con.execute(
                "SELECT unnest(edits_removed) FROM versions WHERE version_id = ?", [version]
            ).fetchall()
            _end_retirements(con, [row[0] for row in removed], version, at, actor)
            return [edit_id for edit_id, _ in losers]

    def request_removal(
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
        at = now or datetime.now(UTC)
        with self.write() as con:
            ids = [_full_id(con, edit_id) for edit_id in edit_ids]
            return remove_in(con, ids, to, actor=actor, reason=reason, at=at)

    def retired(
        self,
        edit_ids: Iterable[str],
        version: str,
        *,
        to: str = states.REVOKED,
        actor: str,
        reason: str,
        now: datetime | None = None,
    ) -> None:
        """End active edits whose keys a promoted version no longer holds."""
        at = now or datetime.now(UTC)
        with self.write() as con:
            ids = [_full_id(con, edit_id) for edit_id in edit_ids]
            states.move(con, ids, to, at=at, actor=actor, reason=reason, version=version)
            con.execute(
                "UPDATE retirements SET done = true WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )

    def end_removals(
        self, edit_ids: Iterable[str], version: str, *, actor: str, now: datetime | None = None
    ) -> list[str]:
        """End those active edits that were asked to go, as was asked, now that `version` serves.

        Returns them; the others keep their state.
        """
        with self.write() as con:
            ids = [_full_id(con, edit_id) for edit_id in edit_ids]
            return _end_retirements(con, ids, version, now or datetime.now(UTC), actor)

    def removing_versions(self) -> list[str]:
        """Versions of ended jobs that lack an active edit which was asked to go."""
        with self.read() as con:
            rows = con.execute(
                "SELECT DISTINCT j.version FROM retirements r JOIN jobs j USING (job_id) "
                "JOIN edit_states s USING (edit_id) WHERE NOT r.done AND s.state = 'active' "
                "AND j.state = 'done' AND j.version IS NOT NULL ORDER BY j.version"
            ).fetchall()
        return [row[0] for row in rows]

    def free_removals(self, *, waiting: Iterable[str] = ()) -> int:
        """Let removals be planned anew whose job ended without them; returns how many.

        waiting: versions that may still be promoted; removals that they carry out stay theirs.
        """
        with self.write() as con:
            freed = con.execute(
                "UPDATE retirements SET job_id = NULL WHERE NOT done AND job_id IN ("
                "SELECT job_id FROM jobs WHERE state IN ('done', 'failed') AND (version IS NULL "
                "OR version NOT IN (SELECT unnest(?::VARCHAR[])))) RETURNING edit_id",
                [list(waiting)],
            ).fetchall()
        return len(freed)


def remove_in(
    con: Connection, ids: list[str], to: str, *, actor: str, reason: str, at: datetime
) -> tuple[list[str], list[str]]:
    """End edits that are in no version; note the others for the next job."""
    active = {
        row[0]
        for row in con.execute(
            "SELECT edit_id FROM edit_states WHERE edit_id IN (SELECT unnest(?::VARCHAR[])) "
            "AND state = 'active'",
            [ids],
        ).fetchall()
    }
    at_once = [edit_id for edit_id in ids if edit_id not in active]
    states.move(con, at_once, to, at=at, actor=actor, reason=reason)
    later = [edit_id for edit_id in ids if edit_id in active]
    for edit_id in later:
        con.execute(
            "INSERT INTO retirements SELECT ?, ?, ?, ?, ?, NULL, false WHERE NOT EXISTS ("
            "SELECT 1 FROM retirements WHERE edit_id = ? AND NOT done)",
            [edit_id, to, at, actor, reason, edit_id],
        )
    return at_once, later


def _end_retirements(
    con: Connection, ids: list[str], version: str, at: datetime, actor: str
) -> list[str]:
    """End those of the edits that are active and were asked to go, as was asked."""
    found = con.execute(
        "SELECT r.edit_id, any_value(r.to_state)::VARCHAR, any_value(r.reason) FROM retirements r "
        "JOIN edit_states s USING (edit_id) WHERE NOT r.done AND s.state = 'active' "
        "AND r.edit_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY r.edit_id",
        [ids],
    ).fetchall()
    states.move_each(
        con, [(edit_id, to, reason, None) for edit_id, to, reason in found],
        at=at, actor=actor, version=version,
    )  # fmt: skip
    ended = [edit_id for edit_id, _, _ in found]
    con.execute(
        "UPDATE retirements SET done = true WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))", [ended]
    )
    return ended


def _full_id(con: Connection, edit_id: str) -> str:
    """The one edit that a prefix of at least four characters names; a whole id as it stands.

    Raises UnknownId for a prefix that fits none or several.
    """
    if len(edit_id) == 32:
        return edit_id
    found = con.execute(
        "SELECT edit_id FROM edits WHERE length(?) >= 4 AND starts_with(edit_id, ?) LIMIT 2",
        [edit_id, edit_id],
    ).fetchall()
    if len(found) == 1:
        return str(found[0][0])
    raise _unknown(edit_id, "fits several edits" if found else "is not on record")


def _unknown(edit_id: str, problem: str = "is not on record") -> UnknownId:
    return UnknownId(f"edit {edit_id!r} {problem}. See `melo edits list`.")


_EDITS = """
SELECT e.edit_id, e.kind, e.prompt, e.target, s.state::VARCHAR, e.subject, e.relation,
       e.old_answer, e.aliases,
       e.rephrases || coalesce((SELECT list(w.wording ORDER BY w.added_at, w.rowid) FROM wordings w
                                WHERE w.edit_id = e.edit_id), []),
       e.locality, e.source, e.external_id, s.valid_from,
       s.valid_to, s.urgent, s.hold, s.since, e.received_at, n.reported, n.sources, s.job_id,
       s.version, s.group_id,
       (SELECT list(DISTINCT c.loser ORDER BY c.loser) FROM contests c
        JOIN edit_states l ON l.edit_id = c.loser
        WHERE c.winner = e.edit_id AND NOT c.settled AND l.state = 'active')
FROM edits e JOIN edit_states s USING (edit_id)
JOIN (SELECT edit_id, count(*) AS reported, count(DISTINCT source) AS sources FROM reports
      WHERE edit_id IS NOT NULL AND ($ids IS NULL OR edit_id IN (SELECT unnest($ids::VARCHAR[])))
      GROUP BY edit_id) n USING (edit_id)
WHERE ($state IS NULL OR s.state = $state::edit_state)
  AND ($ids IS NULL OR e.edit_id IN (SELECT unnest($ids::VARCHAR[])))
  AND ($source IS NULL OR e.source = $source) AND ($hold IS NULL OR s.hold = $hold)
ORDER BY e.seq LIMIT $limit
"""


def _edit(row: tuple[object, ...]) -> Edit:
    values = list(row)
    for place in (8, 9):
        values[place] = tuple(values[place] or ())  # type: ignore[arg-type]
    values[10] = tuple(
        Locality(item["prompt"], item["answer"])
        for item in values[10] or ()  # type: ignore[attr-defined]
    )
    values[24] = tuple(values[24] or ())  # type: ignore[arg-type]
    return Edit(*values)  # type: ignore[arg-type]
