"""What a person decides about one edit: shown before it is made, on record, undone where it can be.

    preview ──► the same calls in a transaction that is rolled back: exactly what would change
    make    ──► Review's calls, and a row in `decisions`: who, what, why, and how things stood before
    undo    ──► every edit as it stood, where none has gone on since

The command line and the review page make the same calls.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, get_args

from ledger import settling, states
from ledger.edits import Edits
from ledger.errors import IllegalTransition, UnknownId
from ledger.review import Review
from ledger.store import Connection, Store, first
from ledger.types import EditRecord, IntakeRules
from text import normalize_question, subject_may_stand_in

Action = Literal[
    "approve", "both", "reject", "answer", "subject", "wording", "urgent", "not-urgent"
]
ACTIONS: tuple[Action, ...] = get_args(Action)
WAITING = (states.HELD, states.READY)  # not trained yet: a change needs no version


@dataclass(frozen=True)
class Decision:
    """What somebody wants done to an edit. value: the answer, subject, wording, or the other edit."""

    action: Action
    edit: str
    reason: str
    value: str | None = None


@dataclass(frozen=True)
class Change:
    """What a decision does to one edit. before, after: its states, or what else changes."""

    edit: str
    prompt: str
    target: str | None
    before: str | None
    after: str
    why: str


@dataclass(frozen=True)
class Decided:
    """A decision on record. made: the edit that an answer became."""

    id: str
    edit: str
    action: str
    value: str | None
    actor: str
    reason: str
    at: datetime
    made: str | None = None
    undoable: bool = False
    undone_at: datetime | None = None
    undone_by: str | None = None


class _RollBack(Exception):
    """Rolls a preview back."""


class Decisions:
    """Single decisions of people."""

    def __init__(self, store: Store, edits: Edits, review: Review) -> None:
        self._store = store
        self._edits = edits
        self._review = review

    def preview(self, decision: Decision, *, actor: str, rules: IntakeRules) -> list[Change]:
        """What the decision would change, without making it. Raises as `make`."""
        at, changes = datetime.now(UTC), []
        try:
            with self._store.write() as con:
                self.make(decision, actor=actor, rules=rules, now=at)
                changes = _changes(con, self._edits.get(decision.edit), decision, at)
                raise _RollBack
        except _RollBack:
            return changes

    def make(
        self, decision: Decision, *, actor: str, rules: IntakeRules, now: datetime | None = None
    ) -> Decided:
        """Make a decision and put it on record.

        Subject and wording are those of an edit that is not trained yet. Raises UnknownId;
        IllegalTransition where the edit's state or the value does not allow it.
        """
        by = states.Provenance(now or datetime.now(UTC), actor)
        if not decision.reason.strip():
            raise IllegalTransition("a decision needs its reason, for the record.")
        with self._store.write() as con:
            edit = self._edits.get(decision.edit)
            value = (decision.value or "").strip() or None
            other = self._edits.get(value or "").id if decision.action == "both" else None
            value = other or value
            decision = replace(decision, edit=edit.id, value=value)
            before = _snapshot(con, [edit.id] if other is None else [edit.id, other])
            decided = self.record(decision, actor=actor, now=by.at)  # first: pairs are read there
            made = self._carry_out(con, edit, decision, rules, by)
            prior = _undo_plan(con, edit.id, decision.action, before, made, by.at)
            con.execute(
                "UPDATE decisions SET made = ?, prior = ? WHERE decision_id = ?",
                [made, prior, decided.id],
            )
            return replace(decided, made=made, undoable=prior is not None)

    def record(
        self,
        decision: Decision,
        *,
        actor: str,
        now: datetime | None = None,
    ) -> Decided:
        """Put a decision about the edit with this full id on record, without an undo."""
        row = (
            uuid.uuid4().hex,
            decision.edit,
            decision.action,
            decision.value,
            actor,
            decision.reason.strip(),
            now or datetime.now(UTC),
        )
        with self._store.write() as con:
            con.execute(
                "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, NULL)", row
            )
        return Decided(*row)

    def find(self, *, limit: int = 100, edit_id: str | None = None) -> list[Decided]:
        """What people decided, the latest first."""
        rows = self._store.rows(
            "SELECT decision_id, edit_id, action, value, actor, reason, decided_at, made, "
            "prior IS NOT NULL AND undone_at IS NULL, undone_at, undone_by FROM decisions "
            "WHERE $edit IS NULL OR edit_id = $edit OR made = $edit "
            "OR (action = 'both' AND value = $edit) "
            "ORDER BY decided_at DESC, rowid DESC LIMIT $limit",
            {"edit": edit_id, "limit": limit},
        )
        return [Decided(*row) for row in rows]

    def undo(self, decision_id: str, *, actor: str, reason: str) -> list[str]:
        """Put back how things stood before a decision; returns the edits that moved.

        The edit that an answer became is held for review, so that no answer is lost. Raises UnknownId;
        IllegalTransition where the decision has no undo, or an edit has gone on since.
        """
        at = datetime.now(UTC)
        with self._store.write() as con:
            row = first(
                con.execute(
                    "SELECT decision_id, prior, undone_at, action FROM decisions "
                    "WHERE length(?) >= 4 AND starts_with(decision_id, ?)",
                    [decision_id, decision_id],
                )
            )
            if row is None:
                raise UnknownId(f"no decision {decision_id!r} is on record. See `melo review log`.")
            full_id, prior, undone_at, action = row
            if undone_at is not None:
                raise IllegalTransition(
                    f"decision {full_id[:12]} was undone {undone_at:%Y-%m-%d %H:%M}."
                )
            if prior is None:
                raise IllegalTransition(
                    f"decision {full_id[:12]} ({action}) has no undo. What is in a version is taken out "
                    "with `melo revoke`."
                )
            by = states.Provenance(at, actor)
            moved = _restore(con, json.loads(prior), f"undone: {reason}", by)
            con.execute(
                "UPDATE decisions SET undone_at = ?, undone_by = ? WHERE decision_id = ?",
                [at, actor, full_id],
            )
        return moved

    def _carry_out(
        self,
        con: Connection,
        edit: EditRecord,
        decision: Decision,
        rules: IntakeRules,
        by: states.Provenance,
    ) -> str | None:
        """Do it; the id of the edit that an answer became."""
        value, reason, actor, at = decision.value, decision.reason, by.actor, by.at
        match decision.action:
            case "approve":
                self._review.approve([edit.id], actor=actor, reason=reason, rules=rules, now=at)
            case "both":
                self._review.keep_both(edit, self._edits.get(value or ""), rules=rules, by=by)
            case "reject":
                self._review.reject([edit.id], actor=actor, reason=reason, now=at)
            case "answer":
                if value is None:
                    raise IllegalTransition("an answer is empty; say the right one.")
                return self._review.answer(
                    edit.id, value, actor=actor, reason=reason, rules=rules, now=at
                )
            case "subject":
                self._set_subject(edit, value, by)
            case "wording":
                _add_wording(con, edit, value, rules, by)
            case "urgent" | "not-urgent":
                _set_urgency(con, edit, decision.action == "urgent")
        return None

    def _set_subject(self, edit: EditRecord, subject: str | None, by: states.Provenance) -> None:
        _refuse_trained(edit)
        question = "\n".join(text for role, text in edit.messages if role == "user") or edit.prompt
        if subject is None or not subject_may_stand_in(question, [subject, *edit.aliases]):
            raise IllegalTransition(
                f'subject "{subject or ""}" is not in the question "{edit.prompt[:120]}"; give it as it '
                "is written there."
            )
        self._edits.note_subjects({edit.id: subject}, origin="given", actor=by.actor, now=by.at)


def _refuse_trained(edit: EditRecord) -> None:
    if edit.state not in WAITING:
        raise IllegalTransition(f"edit {edit.id} is {edit.state}, and neither held nor ready.")


def _add_wording(
    con: Connection,
    edit: EditRecord,
    wording: str | None,
    rules: IntakeRules,
    by: states.Provenance,
) -> None:
    """Train the edit with a further wording; who claims the same question contradicts it from now on."""
    _refuse_trained(edit)
    if wording is None:
        raise IllegalTransition("a wording is empty; give the question in other words.")
    if normalize_question(wording) in map(normalize_question, (edit.prompt, *edit.rephrases)):
        raise IllegalTransition(f'edit {edit.id} is asked as "{wording}" already.')
    con.execute("INSERT INTO wordings VALUES (?, ?, ?, '', ?)", [edit.id, wording, by.actor, by.at])
    con.execute(
        "INSERT INTO questions SELECT md5_number(normalize_question(?)), ?", [wording, edit.id]
    )
    if edit.state == states.READY:
        settling.settle_among(con, [edit.id], rules, by.at)


def _set_urgency(con: Connection, edit: EditRecord, urgent: bool) -> None:
    if edit.state in states.ENDED or edit.state == states.ACTIVE:
        raise IllegalTransition(f"edit {edit.id} is {edit.state}; it waits for nothing.")
    con.execute("UPDATE edit_states SET urgent = ? WHERE edit_id = ?", [urgent, edit.id])


def _snapshot(con: Connection, edit_ids: list[str]) -> dict[str, object]:
    """The states of the edits that share a question with these, and what was decided of them."""
    about = {"ids": edit_ids}
    rivals = (
        "SELECT r.edit_id FROM questions q JOIN questions r USING (key) "
        "WHERE q.edit_id IN (SELECT unnest($ids::VARCHAR[])) UNION SELECT unnest($ids::VARCHAR[])"
    )
    edits = con.execute(
        "SELECT edit_id, state::VARCHAR, hold, coalesce(approved, false), urgent FROM edit_states "
        f"WHERE edit_id IN ({rivals})",
        about,
    ).fetchall()
    settled = con.execute(
        "SELECT winner, loser, decided_at::VARCHAR, settled FROM contests "
        f"WHERE loser IN ({rivals})",
        about,
    ).fetchall()
    return {"edits": {row[0]: row[1:] for row in edits}, "contests": settled}


def _undo_plan(
    con: Connection,
    edit_id: str,
    action: str,
    before: dict[str, object],
    new_edit: str | None,
    at: datetime,
) -> str | None:
    """What an undo needs as JSON; None where there is none."""
    if action in ("subject", "wording"):
        return None
    standing: dict[str, tuple[str, str | None, bool, bool]] = before["edits"]  # type: ignore[assignment]
    moved = {
        row[0]: row[1]
        for row in con.execute(
            "SELECT edit_id, arg_max(to_state, rowid)::VARCHAR FROM transitions "
            "WHERE happened_at = ? GROUP BY edit_id",
            [at],
        ).fetchall()
    }
    back = []
    for edit, now in moved.items():
        if edit not in standing and edit != new_edit:
            return None
        state, hold, approved, urgent = standing.get(edit, (states.HELD, "review", False, False))
        if _path_back(now, state) is None:
            return None
        back.append([edit, now, state, hold, approved, urgent])
    if action in ("urgent", "not-urgent"):
        back = [[edit_id, None, *standing[edit_id]]]
    return json.dumps({"edits": back, "contests": before["contests"], "at": at.isoformat()})


def _path_back(now: str, before: str) -> Sequence[str] | None:
    """The states to pass from `now` back to `before`; None where no path leads there."""
    for path in ((), (before,), (states.RECEIVED, before)):
        steps = [now, *path]
        ends = steps[-1] == before
        if ends and all(b in states.ALLOWED[a] for a, b in itertools.pairwise(steps)):
            return path
    return None


def _restore(
    con: Connection, prior: dict[str, list[list[object]]], reason: str, by: states.Provenance
) -> list[str]:
    moved = []
    for edit, left, state, hold, approved, urgent in prior["edits"]:
        now = first(
            con.execute("SELECT state::VARCHAR FROM edit_states WHERE edit_id = ?", [edit])
        )[0]
        if left is not None and now != left:
            raise IllegalTransition(
                f"edit {edit} is {now} by now, so this can't be undone. What is in a version is taken "
                "out with `melo revoke`."
            )
        for step in () if left is None else _path_back(now, str(state)) or ():
            kept_for = str(hold) if step == states.HELD else None
            states.move(con, [str(edit)], step, reason, by, hold=kept_for)
        con.execute(
            "UPDATE edit_states SET approved = ?, urgent = ? WHERE edit_id = ?",
            [approved or None, urgent, edit],
        )
        moved.append(str(edit))
    con.execute(
        "UPDATE contests SET settled = true WHERE decided_at = ?::TIMESTAMPTZ", [prior["at"]]
    )
    for winner, loser, decided_at, settled in prior["contests"]:
        con.execute(
            "UPDATE contests SET settled = ? WHERE winner IS NOT DISTINCT FROM ? AND loser = ? "
            "AND decided_at = ?::TIMESTAMPTZ",
            [settled, winner, loser, decided_at],
        )
    return moved


def _changes(con: Connection, edit: EditRecord, decision: Decision, at: datetime) -> list[Change]:
    rows = con.execute(
        """SELECT t.edit_id, e.prompt, e.target, (list(t.from_state ORDER BY t.rowid))[1]::VARCHAR,
                  any_value(s.state)::VARCHAR || coalesce(' (' || any_value(s.hold) || ')', ''),
                  arg_max(t.reason, t.rowid)
        FROM transitions t JOIN edits e USING (edit_id) JOIN edit_states s USING (edit_id)
        WHERE t.happened_at = ? GROUP BY 1, 2, 3 ORDER BY (t.edit_id = ?) DESC, min(t.rowid)""",
        [at, edit.id],
    ).fetchall()
    changes = [Change(*row) for row in rows]
    effect = {
        "urgent": ("waits its turn", "goes first", "urgent edits are planned before others"),
        "not-urgent": ("goes first", "waits its turn", "as other edits"),
        "subject": (None, f"about {decision.value!r}", "it is trained with this subject"),
        "wording": (None, f"asked as {decision.value!r} too", "it is trained with this wording"),
    }.get(decision.action)
    if effect is not None:
        changes.insert(0, Change(edit.id, edit.prompt, edit.target, *effect))
    return changes
