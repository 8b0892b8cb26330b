"""Contradictions: which of two edits wins, by rule, and on record.

Two edits contradict each other where they answer one question differently: the same prompt, a
prompt or rephrase that both claim, the same subject and relation, or one that says it supersedes
the other. The rules, in order:

    review       a person approved it, knowing of the other
    supersedes   it says that it supersedes the other, and is trusted at least as much
    valid-from   it is valid from a later day; an undated one is the older
    trust        its source is trusted more
    sources      more independent sources say so
    newest       both come from one source alone: the later report (or none, as settings say)
    (none)       both are held for review

A loser that is not in use ends at once. One that is (in a job or in a version) stays until the
winner is active, so a question is never left without either, and never has both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from ledger import states
from ledger.store import Connection
from ledger.types import IntakeRules

NO_DATE = -(2**62)  # before every date


@dataclass
class Contender:
    """One side of a contradiction."""

    id: str
    target: str
    state: str
    fresh: bool
    seq: int
    valid_from: int  # microseconds since 1970
    trust: int
    sources: frozenset[str]
    names: frozenset[str]  # its id and the id that its source gave it
    declared: frozenset[str]
    question: str
    approved: bool  # by a review, in this contest

    def rank(self) -> tuple[bool, int, int, int, int]:
        """Sorts contenders, the strongest last."""
        return self.approved, self.valid_from, self.trust, len(self.sources), self.seq


def settle(con: Connection, rules: IntakeRules, at: datetime) -> int:
    """Decide on every admitted edit (`admissions` with no hold), against each other and the rest.

    Returns the number of contradictions found.
    """
    _find_rivals(con)
    contenders, rivals = _load(con)
    steps, decisions = _decide(contenders, rivals, rules)
    move_received(
        con,
        "SELECT edit_id, 'accepted' AS reason, NULL AS hold FROM admissions WHERE hold IS NULL "
        "AND edit_id NOT IN (SELECT edit_id FROM contested)",
        states.READY,
        at,
        "ingest",
    )
    states.move_each(con, steps, at=at, actor="contradiction rule")
    record(con, decisions, at)
    con.execute("DROP TABLE contested; DROP TABLE rivalries")
    return len(decisions)


def settle_among(con: Connection, ids: list[str], rules: IntakeRules, at: datetime) -> int:
    """Settle contradictions that came to light among edits that are ready or in use."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE admissions AS SELECT e.edit_id, e.target, NULL AS hold, "
        "false AS approved FROM edits e JOIN edit_states s USING (edit_id) "
        "WHERE e.edit_id IN (SELECT unnest(?::VARCHAR[])) "
        "AND s.state IN ('ready', 'planned', 'trained', 'active')",
        [ids],
    )
    _find_rivals(con)
    contenders, rivals = _load(con)
    known = {
        frozenset(pair)
        for pair in con.execute(
            "SELECT coalesce(winner, ''), loser FROM contests "
            "WHERE loser IN (SELECT edit_id FROM contested)"
        ).fetchall()
    }
    steps, decisions = _decide(contenders, rivals, rules)
    decisions = [d for d in decisions if frozenset((d[0] or "", d[1])) not in known]
    states.move_each(con, steps, at=at, actor="contradiction rule")
    record(con, decisions, at)
    con.execute("DROP TABLE contested; DROP TABLE rivalries; DROP TABLE admissions")
    return len(decisions)


def move_received(con: Connection, select: str, to: str, at: datetime, actor: str) -> None:
    """Move edits that are `received` in bulk; `select` yields edit_id, reason, hold."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE moving_on AS {select}")
    assert to in states.ALLOWED[states.RECEIVED]
    con.execute(
        "INSERT INTO transitions SELECT edit_id, 'received', ?::edit_state, ?, ?, reason, NULL, "
        "NULL FROM moving_on",
        [to, at, actor],
    )
    con.execute(
        "UPDATE edit_states AS s SET state = ?::edit_state, since = ?, hold = m.hold "
        "FROM moving_on m WHERE m.edit_id = s.edit_id AND s.state = 'received'",
        [to, at],
    )
    con.execute("DROP TABLE moving_on")


def record(
    con: Connection,
    decisions: list[tuple[str | None, str, str, str, bool]],
    at: datetime,
) -> None:
    """Write decisions down: (winner, loser, rule, question, settled)."""
    if not decisions:
        return
    winner, loser, rule, key, settled = zip(*decisions, strict=True)
    con.register(
        "decided",
        pa.table(
            {
                "winner": pa.array(winner, pa.string()),
                "loser": pa.array(loser, pa.string()),
                "rule": pa.array(rule, pa.string()),
                "key": pa.array(key, pa.string()),
                "settled": pa.array(settled, pa.bool_()),
            }
        ),
    )
    con.execute(
        "INSERT INTO contests SELECT winner, loser, rule, key, ?, settled FROM decided", [at]
    )
    con.unregister("decided")


def _find_rivals(con: Connection) -> None:
    """Fill `rivalries` (key, edit_id) with the questions that have several answers."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE rivalries AS
        WITH admitted AS (SELECT edit_id FROM admissions WHERE hold IS NULL),
        asked AS (SELECT DISTINCT key FROM questions WHERE edit_id IN (FROM admitted)),
        claims AS (SELECT q.key, q.edit_id FROM questions q WHERE q.key IN (FROM asked)),
        shared AS (SELECT * FROM claims WHERE key IN (
            SELECT key FROM claims GROUP BY key HAVING count(*) > 1)),
        standing AS (
            SELECT c.key, c.edit_id, e.target FROM shared c
            JOIN edit_states s USING (edit_id) JOIN edits e USING (edit_id)
            WHERE s.state IN ('ready', 'planned', 'trained', 'active')
               OR (s.state = 'held' AND s.hold = 'contradiction')
               OR c.edit_id IN (FROM admitted))
        SELECT key, edit_id FROM standing WHERE key IN (
            SELECT key FROM standing GROUP BY key HAVING count(DISTINCT target) > 1)"""
    )
    con.execute(
        """INSERT INTO rivalries
        WITH declaring AS (
            SELECT e.edit_id, unnest(e.declared) AS name FROM edits e
            WHERE len(e.declared) > 0
              AND e.edit_id IN (SELECT edit_id FROM admissions WHERE hold IS NULL)),
        named AS (
            SELECT d.edit_id AS winner, e.edit_id AS loser FROM declaring d
            JOIN edits e ON e.edit_id = d.name OR e.external_id = d.name
            JOIN edit_states s ON s.edit_id = e.edit_id
            WHERE e.edit_id <> d.edit_id
              AND (s.state IN ('ready', 'planned', 'trained', 'active')
                   OR (s.state = 'held' AND s.hold = 'contradiction')
                   OR e.edit_id IN (SELECT edit_id FROM admissions WHERE hold IS NULL)))
        SELECT md5_number(chr(28) || winner || loser) AS key, winner FROM named
        UNION ALL SELECT md5_number(chr(28) || winner || loser), loser FROM named"""
    )
    con.execute("CREATE OR REPLACE TEMP TABLE contested AS SELECT DISTINCT edit_id FROM rivalries")


def _load(con: Connection) -> tuple[dict[str, Contender], dict[str, set[str]]]:
    rows = con.execute(
        """WITH told AS (
            SELECT edit_id, list(DISTINCT source) AS sources FROM reports
            WHERE edit_id IN (SELECT edit_id FROM contested) GROUP BY edit_id)
        SELECT e.edit_id, e.target, s.state::VARCHAR, a.edit_id IS NOT NULL, e.seq,
               coalesce(epoch_us(s.valid_from), ?), s.trust, t.sources, e.external_id, e.declared,
               e.prompt, coalesce(a.approved, false)
        FROM edits e JOIN edit_states s USING (edit_id) JOIN told t USING (edit_id)
        LEFT JOIN admissions a ON a.edit_id = e.edit_id AND a.hold IS NULL
        WHERE e.edit_id IN (SELECT edit_id FROM contested)""",
        [NO_DATE],
    ).fetchall()
    contenders = {
        row[0]: Contender(
            id=row[0],
            target=row[1],
            state=row[2],
            fresh=row[3],
            seq=row[4],
            valid_from=row[5],
            trust=row[6],
            sources=frozenset(row[7] or ()),
            names=frozenset(name for name in (row[0], row[8]) if name),
            declared=frozenset(row[9] or ()),
            question=row[10],
            approved=row[11],
        )
        for row in rows
    }
    by_key: dict[int, list[str]] = defaultdict(list)
    for key, edit_id in con.execute("SELECT hash(key), edit_id FROM rivalries").fetchall():
        by_key[key].append(edit_id)
    rivals: dict[str, set[str]] = defaultdict(set)
    for members in by_key.values():
        for one in members:
            rivals[one].update(
                other
                for other in members
                if other != one and contenders[other].target != contenders[one].target
            )
    return contenders, rivals


Steps = list[tuple[str, str, str, str | None]]
Decisions = list[tuple[str | None, str, str, str, bool]]


def _decide(
    contenders: dict[str, Contender], rivals: dict[str, set[str]], rules: IntakeRules
) -> tuple[Steps, Decisions]:
    """Go from the strongest to the weakest: one that meets no stronger rival is accepted."""
    order = sorted(contenders.values(), key=Contender.rank, reverse=True)
    order = _declared_last(order, rivals)
    accepted: set[str] = set()
    undecided: set[str] = set()
    steps: dict[str, tuple[str, str, str, str | None]] = {}
    decisions: Decisions = []
    for one in order:
        met = rivals[one.id] & accepted or rivals[one.id] & undecided
        if not met:
            accepted.add(one.id)
            if one.state in (states.RECEIVED, states.HELD):
                steps[one.id] = (one.id, states.READY, "accepted; wins its contradictions", None)
            continue
        ruled = ((_rule(contenders[other], one, rules), other) for other in sorted(met))
        rule, other = min(ruled, key=lambda pair: pair[0] is None)
        new = one.fresh or contenders[other].fresh
        if rule is None or other in undecided:
            _hold(one, contenders[other], accepted, undecided, steps)
            if new:
                decisions.append((None, one.id, "undecided", one.question, False))
            continue
        in_use = one.state in states.IN_FLIGHT
        if new:
            decisions.append((other, one.id, rule, one.question, not in_use))
        if not in_use:
            why = f"contradicted by {other}: {rule}"
            steps[one.id] = (one.id, states.SUPERSEDED, why, None)
    return list(steps.values()), decisions


def _declared_last(order: list[Contender], rivals: dict[str, set[str]]) -> list[Contender]:
    """Put what is explicitly superseded behind what says so; a circle decides nothing."""
    if not any(one.declared for one in order):
        return order
    placed: list[Contender] = []
    waiting = list(order)
    while waiting:
        ready = [
            one
            for one in waiting
            if not any(_supersedes(other, one) for other in waiting if other.id in rivals[one.id])
        ]
        placed.extend(ready or waiting)
        waiting = [one for one in waiting if one not in ready] if ready else []
    return placed


def _supersedes(one: Contender, other: Contender) -> bool:
    return (
        bool(one.declared & other.names)
        and one.trust >= other.trust
        and not other.declared & one.names
    )


def _rule(winner: Contender, loser: Contender, rules: IntakeRules) -> str | None:
    if winner.approved != loser.approved:
        return "review" if winner.approved else None
    if _supersedes(winner, loser):
        return "supersedes"
    if winner.valid_from != loser.valid_from:
        return "valid-from" if winner.valid_from > loser.valid_from else None
    if winner.trust != loser.trust:
        return "trust" if winner.trust > loser.trust else None
    if len(winner.sources) != len(loser.sources):
        return "sources" if len(winner.sources) > len(loser.sources) else None
    if rules.tie == "newest" and winner.sources == loser.sources and len(winner.sources) == 1:
        return "newest" if winner.seq > loser.seq else None
    return None


def _hold(
    one: Contender,
    other: Contender,
    accepted: set[str],
    undecided: set[str],
    steps: dict[str, tuple[str, str, str, str | None]],
) -> None:
    """Neither wins: hold both, except one that is in use, which stays."""
    reason = "contradicts {}; no rule decides"
    if one.state in states.IN_FLIGHT and other.state in states.IN_FLIGHT:
        return
    if one.state not in states.IN_FLIGHT:
        undecided.add(one.id)
        if one.state in (states.RECEIVED, states.READY):
            steps[one.id] = (one.id, states.HELD, reason.format(other.id), "contradiction")
    if other.state not in states.IN_FLIGHT and other.id in accepted:
        accepted.discard(other.id)
        undecided.add(other.id)
        steps.pop(other.id, None)
        if other.state in (states.RECEIVED, states.READY):
            steps[other.id] = (other.id, states.HELD, reason.format(one.id), "contradiction")
