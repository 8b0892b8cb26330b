"""Contradictions: which edits contradict each other, found in the ledger, and written down as decided.

Two edits contradict each other where they answer one question differently: the same prompt, a
prompt or rephrase that both claim, the same subject and relation, or one that says it supersedes
the other. `ledger/rules.py` says who wins.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import permutations
from typing import Any

import pyarrow as pa

from ledger import states
from ledger.rules import NO_DATE, Contender, Decisions, decide
from ledger.statements import statement
from ledger.store import Connection, column, registered, texts
from ledger.types import IntakeRules
from text import normalize_question

ACTOR = "contradiction rule"
DECIDED = texts("winner", "loser", "rule", "key").append(pa.field("settled", pa.bool_()))


def settle(con: Connection, rules: IntakeRules, at: datetime) -> int:
    """Let in what nobody contradicts of the temp table `admissions`, and decide on the others.

    admissions: edit_id, to_state, reason, hold, approved. Those held or ended are moved as they are.
    Returns the number of contradictions found.
    """
    statement("rivalries").run(con)
    steps, decisions = decide(*_load(con), rules)
    states.move_received(
        con,
        "SELECT * FROM admissions WHERE edit_id NOT IN (SELECT edit_id FROM rivalries)",
        states.Provenance(at, "ingest"),
    )
    states.move_each(con, steps, states.Provenance(at, ACTOR))
    record(con, decisions, at)
    con.execute("DROP TABLE rivalries")
    return len(decisions)


def settle_among(con: Connection, ids: list[str], rules: IntakeRules, at: datetime) -> int:
    """Settle contradictions that came to light among edits that are ready or in use.

    Returns how many were found; what was decided before stays as it is.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE admissions AS "
        "SELECT edit_id, 'ready' AS to_state, false AS approved FROM edit_states "
        "WHERE edit_id IN (SELECT unnest(?::VARCHAR[])) "
        "AND state IN ('ready', 'planned', 'trained', 'active')",
        [ids],
    )
    statement("rivalries").run(con)
    steps, decisions = decide(*_load(con), rules)
    undecided = con.execute(
        "SELECT loser FROM contests WHERE winner IS NULL AND NOT settled "
        "AND loser IN (SELECT edit_id FROM rivalries)"
    )
    before = set(column(undecided))
    decisions = [d for d in decisions if d[0] is not None or d[1] not in before]
    states.move_each(con, steps, states.Provenance(at, ACTOR))
    record(con, decisions, at)
    con.execute("DROP TABLE rivalries; DROP TABLE admissions")
    retire_losers(con, at)
    return len(decisions)


def settle_rekeyed(con: Connection, rules: IntakeRules, at: datetime) -> None:
    """Settle contradictions that a change of the rule for questions has brought to light.

    A migration names the edits (`rekeyed`).
    """
    ids = column(con.execute("DELETE FROM rekeyed RETURNING edit_id"))
    if ids:
        settle_among(con, ids, rules, at)


def retire_losers(con: Connection, at: datetime) -> None:
    """Retire losers that were in use when their contradiction was decided.

    One that came back from its job ends; one that is active, as its winner is, is to be taken out
    with the next version.
    """
    beaten = statement("beaten").rows(con)
    why = "contradicted by {}: {}"
    back = {loser: why.format(*by) for loser, state, *by in beaten if state == states.READY}
    ended = [states.Step(loser, states.SUPERSEDED, reason) for loser, reason in back.items()]
    states.move_each(con, ended, states.Provenance(at, ACTOR))
    serving = {loser: why.format(*by) for loser, state, *by in beaten if state == states.ACTIVE}
    for loser, reason in serving.items():
        con.execute(
            "INSERT INTO retirements VALUES (?, 'superseded', ?, ?, ?, NULL, false)",
            [loser, at, ACTOR, reason],
        )
        con.execute(
            "UPDATE contests SET settled = true WHERE loser = ? AND winner IN "
            "(SELECT edit_id FROM edit_states WHERE state = 'active')",
            [loser],
        )


def record(con: Connection, decisions: Decisions, at: datetime) -> None:
    """Write decisions down: (winner, loser, rule, question, settled)."""
    if not decisions:
        return
    with registered(con, "decided", DECIDED, decisions):
        con.execute(  # what it reverses is over
            "UPDATE contests AS c SET settled = true FROM decided d "
            "WHERE c.winner = d.loser AND c.loser = d.winner AND NOT c.settled"
        )
        con.execute(  # what nobody had won, somebody has
            "UPDATE contests AS c SET settled = true FROM decided d WHERE c.winner IS NULL "
            "AND d.winner IS NOT NULL AND c.loser IN (d.winner, d.loser) AND NOT c.settled"
        )
        con.execute(
            "INSERT INTO contests SELECT winner, loser, rule, key, ?, settled FROM decided", [at]
        )


def note_undecided(con: Connection, edit_ids: list[str], at: datetime) -> None:
    """Put contradictions of these edits on record that nobody has won, where none is open yet."""
    con.execute(
        "INSERT INTO contests SELECT NULL, edit_id, 'undecided', prompt, ?, false FROM edits "
        "WHERE edit_id IN (SELECT unnest(?::VARCHAR[])) AND edit_id NOT IN "
        "(SELECT loser FROM contests WHERE winner IS NULL AND NOT settled)",
        [at, edit_ids],
    )


def _load(con: Connection) -> tuple[dict[str, Contender], dict[str, set[str]]]:
    """Who contradicts somebody, and the rivals of each."""
    rows = statement("contenders").rows(con, no_date=NO_DATE)
    contenders = {contender.id: contender for contender in map(_contender, rows)}
    by_key: dict[int, list[str]] = defaultdict(list)
    for key, edit_id in con.execute("SELECT hash(key), edit_id FROM rivalries").fetchall():
        by_key[key].append(edit_id)
    rivals: dict[str, set[str]] = defaultdict(set)
    for members in by_key.values():
        for edit_id, rival in permutations(members, 2):
            if contenders[edit_id].target != contenders[rival].target:
                rivals[edit_id].add(rival)
    _drop_decided(con, contenders, rivals)
    return contenders, rivals


def _contender(row: tuple[Any, ...]) -> Contender:
    *first, sources, external_id, declared, prompt, approved = row
    names = frozenset(filter(None, (first[0], external_id)))
    sides = frozenset(sources or ()), names, frozenset(declared or ())
    return Contender(*(*first, *sides, prompt, approved))


def both_right(con: Connection) -> set[frozenset[str]]:
    """Pairs of edits that a person found both right, and that are not asked the same by now."""
    pairs = con.execute(
        "SELECT edit_id, value FROM decisions WHERE action = 'both' AND undone_at IS NULL"
    ).fetchall()
    ids = sorted({edit_id for pair in pairs for edit_id in pair})
    asked: dict[str, set[str]] = defaultdict(set)
    for edit_id, text in con.execute(_ASKED, [ids]).fetchall() if ids else ():
        asked[edit_id].add(normalize_question(text))
    return {frozenset(pair) for pair in pairs if asked[pair[0]].isdisjoint(asked[pair[1]])}


_ASKED = """
SELECT edit_id, unnest([prompt] || rephrases || coalesce(
    (SELECT list(w.wording) FROM wordings w WHERE w.edit_id = e.edit_id), []))
FROM edits e WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))
"""


def _drop_decided(
    con: Connection, contenders: dict[str, Contender], rivals: dict[str, set[str]]
) -> None:
    """No rivals: two that a person found both right, and two in use between which it was decided."""
    for pair in both_right(con):
        for edit_id, other in permutations(pair):
            rivals[edit_id].discard(other)
    live = {edit.id for edit in contenders.values() if edit.state in states.LIVE}
    if not any(rivals[edit_id] & live for edit_id in rivals.keys() & live):
        return
    for winner, loser in con.execute(
        "SELECT winner, loser FROM contests WHERE winner IN (SELECT edit_id FROM rivalries) "
        "AND loser IN (SELECT edit_id FROM rivalries)"
    ).fetchall():
        if winner in live and loser in live:
            rivals[winner].discard(loser)
            rivals[loser].discard(winner)
