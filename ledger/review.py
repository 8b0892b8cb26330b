"""What a person decides about held edits, and what time decides."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from ledger import admission, settling, states
from ledger.edits import Edits
from ledger.errors import IllegalTransition
from ledger.intake import line_table, take_staged
from ledger.removals import end_or_request
from ledger.staging import stage
from ledger.statements import statement
from ledger.store import Store, column, first
from ledger.types import EditRecord, IntakeRules, Mapping
from text import normalize_question


class Review:
    """Where people and the calendar decide."""

    def __init__(self, store: Store, edits: Edits) -> None:
        self._store = store
        self._edits = edits

    def waiting(self) -> list[EditRecord]:
        """Edits that are held, in order of arrival; `hold` says what for."""
        return self._edits.find(state=states.HELD)

    def held_since(self, moment: datetime) -> dict[str, int]:
        """How many edits came to be held since then and still are, by what they wait for."""
        rows = self._store.rows(
            "SELECT hold, count(*) FROM edit_states WHERE state = 'held' AND since >= ? "
            "GROUP BY hold ORDER BY count(*) DESC, hold",
            [moment],
        )
        return dict(rows)

    def approve(
        self,
        edit_ids: Iterable[str],
        *,
        actor: str,
        reason: str,
        rules: IntakeRules,
        now: datetime | None = None,
    ) -> None:
        """Let held edits in. One that is held for a contradiction wins it.

        Raises UnknownId; IllegalTransition for an edit that is not held or has no answer yet.
        """
        by = states.Provenance(now or datetime.now(UTC), actor)
        with self._store.write() as con:
            edits = self._edits.find(ids=edit_ids)
            for edit in edits:
                if edit.state != states.HELD:
                    raise IllegalTransition(f"edit {edit.id} is {edit.state}, not held.")
                if edit.target is None:
                    raise IllegalTransition(
                        f"edit {edit.id} has no answer yet. Give one with --answer."
                    )
            ids = [edit.id for edit in edits]
            states.move(con, ids, states.RECEIVED, f"approved: {reason}", by)
            con.execute(
                "UPDATE edit_states SET approved = true WHERE edit_id IN "
                "(SELECT unnest(?::VARCHAR[]))",
                [ids],
            )
            admission.readmit(con, rules, by.at, ids)

    def keep_both(
        self, edit: EditRecord, other: EditRecord, *, rules: IntakeRules, by: states.Provenance
    ) -> None:
        """Let two edits in that were held for each other, or of which one had to go for the other.

        That they are no rivals is on record by the decision. Raises IllegalTransition where they are
        asked the same, or neither waits or went for the other.
        """
        asked = [{*map(normalize_question, (e.prompt, *e.rephrases))} for e in (edit, other)]
        if edit.id == other.id or asked[0] & asked[1]:
            raise IllegalTransition(
                f'edits {edit.id} and {other.id} are both asked "{edit.prompt[:120]}": one question has '
                "one answer. Choose it with `melo review approve`."
            )
        pair = {"pair": [edit.id, other.id]}
        with self._store.write() as con:
            lost, undecided = (set(column(con.execute(sql, pair))) for sql in (_LOST, _UNDECIDED))
            related = bool(lost) or first(con.execute(_ASK_ALIKE, pair)) is not None
            back = [
                e.id
                for e in (edit, other)
                if related
                and (e.hold == "contradiction" or (e.state == states.SUPERSEDED and e.id in lost))
            ]
            for e in (edit, other):
                if e.id not in back and (e.state not in states.LIVE or not (back or undecided)):
                    raise IllegalTransition(
                        f"edit {e.id} is {e.state}, and neither held for the other nor superseded by it. "
                        "`melo edits contradictions` says which edits are."
                    )
            con.execute(_SETTLED, pair | {"back": back})
            states.move(con, back, states.RECEIVED, "both are right", by)
            admission.readmit(con, rules, by.at, back)

    def reject(
        self, edit_ids: Iterable[str], *, actor: str, reason: str, now: datetime | None = None
    ) -> None:
        """End held or ready edits. Raises UnknownId, IllegalTransition."""
        by = states.Provenance(now or datetime.now(UTC), actor)
        with self._store.write() as con:
            ids = [edit.id for edit in self._edits.find(ids=edit_ids)]
            states.move(con, ids, states.REJECTED, f"review: {reason}", by)
            con.execute(
                "UPDATE contests SET settled = true WHERE loser IN (SELECT unnest(?::VARCHAR[]))",
                [ids],
            )

    def answer(
        self,
        edit_id: str,
        target: str,
        *,
        actor: str,
        reason: str,
        rules: IntakeRules,
        now: datetime | None = None,
    ) -> str:
        """Say the right answer to a report that came without one; returns the new edit's id.

        The answer is a line of its own, from the source `review:ACTOR`.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            edit = self._edits.get(edit_id)
            if edit.target is not None:
                raise IllegalTransition(f"edit {edit.id} has an answer already: {edit.target!r}.")
            source = f"review:{actor}"
            row: dict[str, object] = {
                "prompt": [{"role": r, "content": c} for r, c in edit.messages] or edit.prompt,
                "target": target,
                "relation": edit.relation,
                "old_answer": edit.old_answer,
                "subject": edit.subject,
                "aliases": edit.aliases,
                "rephrases": edit.rephrases,
                "locality": [vars(probe) for probe in edit.locality],
                "source": source,
            }
            (file_id,) = first(
                con.execute(
                    "INSERT INTO files (name, content_hash, lines, done, started_at, finished_at) "
                    "VALUES ('review', ?, 1, true, ?, ?) RETURNING file_id",
                    [hashlib.sha256(uuid.uuid4().bytes).hexdigest(), at, at],
                )
            )
            lines = line_table([(1, json.dumps(row, ensure_ascii=False))])
            own_fields = replace(rules, mapping=Mapping())
            stage(con, lines, own_fields, fallback_source="review", forced_source=source)
            new, problem = first(con.execute("SELECT edit_id, problem FROM staged"))
            if problem is not None:
                raise IllegalTransition(f"this answer can't be used: {problem}.")
            take_staged(con, file_id, at, rules)
            if self._edits.get(new).state == states.HELD:
                self.approve([new], actor=actor, reason=reason, rules=rules, now=at)
            return str(new)

    def come_due(self, rules: IntakeRules, *, now: datetime | None = None) -> dict[str, int]:
        """Do what time has decided: retire what is no longer valid, let in what now is.

        Returns how many edits expired, will be taken out of the model, and were released.
        """
        at = now or datetime.now(UTC)
        calendar = states.Provenance(at, "calendar")
        with self._store.write() as con:
            settling.settle_rekeyed(con, rules, at)
            over = column(
                con.execute(
                    "SELECT edit_id FROM edit_states WHERE valid_to <= ? "
                    "AND state IN ('held', 'ready', 'active') AND edit_id NOT IN "
                    "(SELECT edit_id FROM retirements WHERE NOT done)",
                    [at],
                )
            )
            ended, later = end_or_request(
                con, over, states.EXPIRED, "its valid-to has come", calendar
            )
            released = column(statement("released").run(con, at=at))
            states.move(con, released, states.RECEIVED, "its time has come", calendar)
            admission.readmit(con, rules, at, released)
        return {"expired": len(ended), "to_remove": len(later), "released": len(released)}


# Of two edits: which lost to the other one, and which did so without an end of it yet.
_LOST = """
SELECT loser FROM contests WHERE winner IN (SELECT unnest($pair::VARCHAR[]))
AND loser IN (SELECT unnest($pair::VARCHAR[]))
"""
_UNDECIDED = f"{_LOST} AND NOT settled"
_ASK_ALIKE = """
SELECT a.key FROM questions a JOIN questions b USING (key)
WHERE a.edit_id = $pair[1] AND b.edit_id = $pair[2] LIMIT 1
"""
_SETTLED = """
UPDATE contests SET settled = true WHERE NOT settled AND (
    (winner IS NULL AND loser IN (SELECT unnest($back::VARCHAR[])))
    OR (winner IN (SELECT unnest($pair::VARCHAR[])) AND loser IN (SELECT unnest($pair::VARCHAR[]))))
"""
