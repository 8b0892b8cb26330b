"""The life of an edit. What stands here is the only way to change a state.

                    ┌─────────── superseded, expired: said again ──────────────┐
                    ▼                                                          │
    (line) ──► received ──► ready ──► planned ──► trained ──► active ──► superseded, revoked,
                    │  ▲      ▲  ▲        │           │                  expired, rejected
                    ▼  │      │  └────────┴───────────┘ job failed, try again
                   held ──────┘ reviewed, quorum met, time come      (planned ──► held: it contradicts
                                                                      another, seen in training)

What was revoked or rejected stays so whoever reports it again; only a version from before that is
made to serve again brings it back.

Every step is a row in `transitions` with time, actor and reason; rows are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from ledger.errors import IllegalTransition, UnknownId
from ledger.store import Connection, registered, texts

RECEIVED, HELD, READY, PLANNED, TRAINED = "received", "held", "ready", "planned", "trained"
ACTIVE, REJECTED, SUPERSEDED = "active", "rejected", "superseded"
REVOKED, EXPIRED = "revoked", "expired"

PENDING = (RECEIVED, HELD, READY, PLANNED, TRAINED)  # on the way to serving
IN_FLIGHT = (PLANNED, TRAINED, ACTIVE)  # in a job or in a version
LIVE = (READY, *IN_FLIGHT)
ENDED = (REJECTED, SUPERSEDED, REVOKED, EXPIRED)
STATES = (*PENDING, ACTIVE, *ENDED)

_LEAVE = {SUPERSEDED, REVOKED, EXPIRED}
ALLOWED: dict[str, frozenset[str]] = {
    RECEIVED: frozenset({HELD, READY, REJECTED} | _LEAVE),
    HELD: frozenset({RECEIVED, READY, REJECTED} | _LEAVE),
    READY: frozenset({HELD, PLANNED, REJECTED} | _LEAVE),
    PLANNED: frozenset({READY, HELD, TRAINED, REJECTED} | _LEAVE),
    TRAINED: frozenset({READY, ACTIVE, REJECTED} | _LEAVE),
    ACTIVE: frozenset(_LEAVE),
    REJECTED: frozenset({RECEIVED}),
    SUPERSEDED: frozenset({RECEIVED}),
    REVOKED: frozenset({RECEIVED}),
    EXPIRED: frozenset({RECEIVED}),
}


class Step(NamedTuple):
    """Where one edit goes, and why. hold: what it is held for, where it is."""

    edit: str
    to: str
    reason: str
    hold: str | None = None


@dataclass(frozen=True)
class Provenance:
    """When and by whom edits are moved; with which version, in which job."""

    at: datetime
    actor: str
    version: str | None = None
    job_id: str | None = None


def move(
    con: Connection,
    edit_ids: Iterable[str],
    to: str,
    reason: str,
    by: Provenance,
    *,
    hold: str | None = None,
) -> None:
    """Take edits to a state, all or none, in the caller's transaction.

    `hold` says why an edit is held and is cleared by every other state.
    Raises UnknownId for an edit not on record, IllegalTransition for a step that does not exist.
    """
    move_each(con, [Step(edit, to, reason, hold) for edit in dict.fromkeys(edit_ids)], by)


def move_each(con: Connection, steps: Sequence[Step], by: Provenance) -> None:
    """As `move`, with a state, a reason and a hold for each edit."""
    if not steps:
        return
    with registered(con, "moving", texts("edit_id", "to_state", "reason", "hold"), steps):
        _refuse_illegal(con)
        con.execute(
            "INSERT INTO transitions SELECT edit_id, s.state, m.to_state::edit_state, ?, ?, "
            "m.reason, ?, ? FROM moving m JOIN edit_states s USING (edit_id)",
            [by.at, by.actor, by.version, by.job_id],
        )
        con.execute(
            "UPDATE edit_states AS s SET state = m.to_state::edit_state, since = ?, "
            "hold = m.hold, version = coalesce(?, s.version), job_id = coalesce(?, s.job_id) "
            "FROM moving m WHERE m.edit_id = s.edit_id",
            [by.at, by.version, by.job_id],
        )


def move_received(con: Connection, select: str, by: Provenance) -> None:
    """Move edits that are `received` in bulk; `select` yields edit_id, to_state, reason, hold.

    The caller sees to it that the states may follow on `received`.
    """
    con.execute(
        "INSERT INTO transitions SELECT edit_id, 'received', to_state::edit_state, ?, ?, reason, "
        f"NULL, NULL FROM ({select})",
        [by.at, by.actor],
    )
    con.execute(
        "UPDATE edit_states AS s SET state = m.to_state::edit_state, since = ?, hold = m.hold "
        f"FROM ({select}) m WHERE m.edit_id = s.edit_id AND s.state = 'received'",
        [by.at],
    )


def _refuse_illegal(con: Connection) -> None:
    for edit_id, from_state, to in con.execute(
        "SELECT any_value(edit_id), s.state::VARCHAR, m.to_state FROM moving m "
        "LEFT JOIN edit_states s USING (edit_id) GROUP BY s.state, m.to_state"
    ).fetchall():
        if from_state is None:
            raise UnknownId(f"no edit {edit_id!r} is on record. See `melo edits list`.")
        if to not in STATES:
            raise IllegalTransition(f"{to!r} is no state. States: {', '.join(STATES)}.")
        if to not in ALLOWED[from_state]:
            allowed = ", ".join(state for state in STATES if state in ALLOWED[from_state])
            raise IllegalTransition(
                f"edit {edit_id} is {from_state} and can't become {to}. From {from_state}: "
                f"{allowed}."
            )
