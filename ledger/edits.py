"""Edits to look at and to move: lists, histories, subjects, activation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ledger import removals, states
from ledger.errors import IllegalTransition
from ledger.functions import messages_in
from ledger.identifiers import full_id, unknown_edit
from ledger.statements import statement
from ledger.store import Store, column, first
from ledger.types import Backlog, EditRecord, LocalityProbe, Transition


class Edits:
    """Every edit, its state and its life."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(
        self,
        *,
        state: str | None = None,
        ids: Iterable[str] | None = None,
        source: str | None = None,
        limit: int | None = None,
    ) -> list[EditRecord]:
        """Edits in order of arrival. An id may be shortened to a prefix that fits one edit."""
        wanted = None if ids is None else list(ids)
        with self._store.read() as con:
            if wanted is not None:
                wanted = [full_id(con, edit_id) for edit_id in wanted]
            rows = statement("edits").rows(con, state=state, ids=wanted, source=source, limit=limit)
        return [_edit(row) for row in rows]

    def get(self, edit_id: str) -> EditRecord:
        """One edit by its id or an unambiguous prefix. Raises UnknownId."""
        edits = self.find(ids=[edit_id])
        if not edits:
            raise unknown_edit(edit_id)
        return edits[0]

    def full_ids(self, edit_ids: Iterable[str]) -> list[str]:
        """The whole ids of edits that are named by them or by prefixes that fit one edit.

        Raises UnknownId for a prefix that fits none or several.
        """
        with self._store.read() as con:
            return list(dict.fromkeys(full_id(con, edit_id) for edit_id in edit_ids))

    def active(self) -> list[EditRecord]:
        """What the champion answers differently from the backbone."""
        return self.find(state=states.ACTIVE)

    def backlog(self) -> Backlog:
        """How many edits wait for a version to serve with, and since when."""
        (row,) = self._store.rows(
            """SELECT count(*), count(*) FILTER (WHERE s.urgent), min(e.received_at)
            FROM edit_states s JOIN edits e USING (edit_id)
            WHERE s.state IN ('ready', 'planned', 'trained')"""
        )
        return Backlog(*row)

    def unserved(self) -> dict[str, int]:
        """How many edits are in each state on the way to serving; held ones are not."""
        rows = self._store.rows(
            "SELECT state::VARCHAR, count(*) FROM edit_states "
            "WHERE state IN ('ready', 'planned', 'trained') GROUP BY state ORDER BY state"
        )
        return dict(rows)

    def history(self, edit_id: str) -> list[Transition]:
        """The whole life of an edit, oldest step first. Raises UnknownId."""
        with self._store.read() as con:
            rows = con.execute(
                "SELECT edit_id, from_state::VARCHAR, to_state::VARCHAR, happened_at, actor, "
                "reason, version, job_id FROM transitions WHERE edit_id = ? ORDER BY rowid",
                [full_id(con, edit_id)],
            ).fetchall()
        if not rows:
            raise unknown_edit(edit_id)
        return [Transition(*row) for row in rows]

    def raw_lines(self, edit_id: str) -> list[tuple[str, int, str, str]]:
        """Every line that reported an edit: (file, line, outcome, raw text)."""
        with self._store.read() as con:
            rows: list[tuple[str, int, str, str]] = con.execute(
                "SELECT f.name, r.line, r.outcome::VARCHAR, r.raw FROM reports r "
                "JOIN files f USING (file_id) WHERE r.edit_id = ? ORDER BY r.file_id, r.line",
                [full_id(con, edit_id)],
            ).fetchall()
        return rows

    def note_subjects(
        self, subjects: Mapping[str, str], *, origin: str, actor: str, now: datetime | None = None
    ) -> None:
        """Put on record what edits are about: {edit: subject}. origin: "inferred" or "given".

        Raises UnknownId.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            for edit_id, subject in subjects.items():
                con.execute(
                    "INSERT INTO subjects VALUES (?, ?, ?, ?, ?)",
                    [full_id(con, edit_id), subject, origin, actor, at],
                )

    def transition(
        self,
        edit_ids: Iterable[str],
        to: str,
        actor: str,
        reason: str,
        version: str | None = None,
    ) -> None:
        """Take edits to a state, all or none.

        To `active` use `activate`, which sees to rivals. Raises UnknownId, IllegalTransition.
        """
        if to == states.ACTIVE:
            raise IllegalTransition("edits become active through activate(), with their version.")
        with self._store.write() as con:
            ids = [full_id(con, edit_id) for edit_id in edit_ids]
            by = states.Provenance(datetime.now(UTC), actor, version)
            hold = "review" if to == states.HELD else None
            states.move(con, ids, to, reason, by, hold=hold)

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
        by = states.Provenance(now or datetime.now(UTC), actor, version)
        with self._store.write() as con:
            ids = list(dict.fromkeys(full_id(con, edit_id) for edit_id in edit_ids))
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
            states.move(con, ids, states.ACTIVE, reason, by)
            losers = con.execute(
                "SELECT c.loser, any_value(c.winner) FROM contests c JOIN edit_states l "
                "ON l.edit_id = c.loser WHERE NOT c.settled "
                "AND c.winner IN (SELECT unnest(?::VARCHAR[])) "
                f"AND l.state NOT IN {states.ENDED} "
                "GROUP BY c.loser",
                [ids],
            ).fetchall()
            states.move_each(
                con,
                [states.Step(i, states.SUPERSEDED, f"{winner} is active") for i, winner in losers],
                by,
            )
            con.execute(
                "UPDATE contests SET settled = true WHERE winner IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )
            removed = con.execute(
                "SELECT unnest(edits_removed) FROM versions WHERE version_id = ?", [version]
            )
            removals.end_requested(con, column(removed), by)
            return [edit_id for edit_id, _ in losers]


def _edit(row: tuple[object, ...]) -> EditRecord:
    values = list(row)
    for place in (8, 9):
        values[place] = tuple(values[place] or ())  # type: ignore[arg-type]
    values[10] = tuple(
        LocalityProbe(item["prompt"], item["answer"])
        for item in values[10] or ()  # type: ignore[attr-defined]
    )
    values[24] = messages_in(str(values[24])) if values[24] else ()
    values[25] = tuple(values[25] or ())  # type: ignore[arg-type]
    return EditRecord(*values)  # type: ignore[arg-type]
