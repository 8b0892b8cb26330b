"""Who may change what: edits that are received or reported again, judged by the trust in the sources.

    staged lines ──► known edits: `again` ──is_judged_anew?──► received once more ─┐
                 └─► new edits: received ──────────────────────────────────────────┤
                                                  who speaks for them: `voices` ◄──┘
                                                         │
                      held, expired ◄──admission?── `candidates` ──► `admissions` ──► settling: ready

The rules are in ledger/trust.py. Each is asked once for each combination of facts there is, so a
million edits cost as many questions as a hundred. Only what is not held takes part in a conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from ledger import settling, states, trust
from ledger.statements import statement
from ledger.store import Connection, column, first, registered, texts
from ledger.types import IntakeRules

SOURCES = pa.schema(
    [
        ("source", pa.string()),
        ("trust", pa.int32()),
        ("policy", pa.string()),
        ("quorum", pa.int32()),
        ("max_per_hour", pa.int32()),
    ]
)


def readmit(con: Connection, rules: IntakeRules, at: datetime, ids: list[str]) -> None:
    """Judge edits anew that were just moved back to `received`, by all reports there are."""
    if not ids:
        return
    con.execute(
        "CREATE OR REPLACE TEMP TABLE voices AS SELECT edit_id, source FROM reports "
        "WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))",
        [ids],
    )
    admit(con, rules, at, reported="voices")


def record_sources(con: Connection, rules: IntakeRules, at: datetime) -> None:
    """Record new sources and the rules in force for each; a block stays what it is."""
    names = column(
        con.execute("SELECT source FROM staged GROUP BY source UNION SELECT source FROM sources")
    )
    named = {rule.name: rule for rule in rules.sources}
    in_force = [(name, named.get(name, rules.default)) for name in names if name is not None]
    rows = [(name, r.trust, r.policy, r.quorum, r.max_per_hour) for name, r in in_force]
    with registered(con, "given_sources", SOURCES, rows):
        con.execute(
            """INSERT INTO sources (source, trust, policy, quorum, max_per_hour, first_seen)
            SELECT g.*, ? FROM given_sources g
            ON CONFLICT DO UPDATE SET trust = excluded.trust, policy = excluded.policy,
                quorum = excluded.quorum, max_per_hour = excluded.max_per_hour""",
            [at],
        )


def receive(con: Connection, at: datetime) -> None:
    """Begin the life of every accepted line's edit."""
    statement("receive").run(con, at=at)
    con.execute(
        "INSERT INTO transitions SELECT edit_id, NULL, 'received', ?, source, "
        "'reported by ' || source, NULL, NULL FROM staged WHERE outcome = 'accepted'",
        [at],
    )


def note_duplicates(con: Connection, at: datetime) -> list[str]:
    """Update known edits that the staged lines report again; returns those to be judged anew.

    Later dates are taken over from sources that are trusted as much as the edit is, and let it in by
    themselves or as a quorum; more trust from those that let it in by themselves; urgency from all.
    An edit without an end gets none. The table `again` stays, with who speaks for each edit.
    """
    statement("reported_again").run(con)
    facts = _register_rulings(
        con,
        "again",
        trust.RepeatedReport,
        lambda report: (trust.is_judged_anew(report),),
        pa.schema([("anew", pa.bool_())]),
    )
    ids = column(con.execute(f"SELECT edit_id FROM again JOIN rulings USING ({facts}) WHERE anew"))
    con.unregister("rulings")
    statement("take_over").run(con)
    by = states.Provenance(at, "ingest")
    states.move(con, ids, states.RECEIVED, "reported again with new evidence", by)
    if ids:  # what a person let in was what was known then
        con.execute(
            "UPDATE edit_states SET approved = NULL "
            "WHERE approved AND edit_id IN (SELECT unnest(?::VARCHAR[]))",
            [ids],
        )
    return ids


def admit(con: Connection, rules: IntakeRules, at: datetime, *, reported: str) -> int:
    """Hold, end or let in the edits that somebody speaks for in the temp table `voices`.

    reported: the table with the edit_id of all that is reported now, new or not. Returns how many
    contradictions were found.
    """
    statement("candidates").run(con, at=at)
    facts = _register_rulings(
        con,
        "candidates",
        trust.Evidence,
        lambda evidence: astuple(trust.admission(evidence)),
        texts("to_state", "reason", "hold"),
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE admissions AS
        SELECT edit_id, to_state, reason, hold, approved FROM candidates JOIN rulings USING ({facts})"""
    )
    con.unregister("rulings")
    conflicts = settling.settle(con, rules, at)
    _end_answered(con, at, reported)
    con.execute("DROP TABLE voices; DROP TABLE candidates; DROP TABLE admissions")
    return conflicts


def _register_rulings(
    con: Connection,
    table: str,
    facts: type[Any],
    rule: Callable[[Any], tuple[object, ...]],
    ruling: pa.Schema,
) -> str:
    """Register `rulings`: what a rule says to each combination of facts that a table holds.

    facts: the dataclass that the rule takes. ruling: the columns that it gives. Returns the names of
    the facts, to join by.
    """
    names = ", ".join(fact.name for fact in fields(facts))
    combinations = con.sql(f"SELECT DISTINCT {names} FROM {table}").to_arrow_table()
    answers = [rule(facts(**row)) for row in combinations.to_pylist()]
    for place, field in enumerate(ruling):
        values = pa.array([answer[place] for answer in answers], field.type)
        combinations = combinations.append_column(field, values)
    con.register("rulings", combinations)
    return names


def _end_answered(con: Connection, at: datetime, reported: str) -> None:
    """End reports without an answer whose question is answered by an edit.

    That edit waits to serve, whichever came first, or it is in use and reported again. One in use that
    nobody reports again ends no later report: somebody met a wrong answer in spite of it.
    """
    if first(con.execute(f"SELECT 1 FROM edit_states WHERE {_UNANSWERED} LIMIT 1")) is None:
        return
    answered = con.execute(
        f"""WITH unanswered AS (
            SELECT key, edit_id FROM questions
            WHERE edit_id IN (SELECT edit_id FROM edit_states WHERE {_UNANSWERED})),
        claims AS (
            SELECT key, edit_id FROM questions WHERE key IN (SELECT key FROM unanswered))
        SELECT u.edit_id, min(c.edit_id) FROM unanswered u
        JOIN claims c USING (key) JOIN edit_states s ON s.edit_id = c.edit_id
        JOIN edits e ON e.edit_id = c.edit_id
        WHERE e.target IS NOT NULL AND (
            s.state IN ('ready', 'planned', 'trained')
            OR (s.state = 'active' AND c.edit_id IN (SELECT edit_id FROM {reported})))
        GROUP BY u.edit_id"""
    ).fetchall()
    steps = [states.Step(old, states.SUPERSEDED, f"answered by {new}") for old, new in answered]
    states.move_each(con, steps, states.Provenance(at, "ingest"))


_UNANSWERED = "state = 'held' AND hold = 'answer'"
