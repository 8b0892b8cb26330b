"""Contradictions: which edits contradict each other, found in the ledger, and written down as decided.

Two edits contradict each other where they answer one question differently: the same prompt, a
prompt or rephrase that both claim, the same subject and relation, or one that says it supersedes
the other. `ledger/rules.py` says who wins.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import permutations

import pyarrow as pa

from ledger import states
from ledger.rules import NO_DATE, Contender, Decisions, decide
from ledger.store import Connection
from ledger.types import IntakeRules

ACTOR = "contradiction rule"

# Who lost to whom, by the last word on the two, and stands beside the winner all the same. Where
# the winner is to be taken out, the loser stays.
_BEATEN = """
WITH leaving AS (SELECT edit_id FROM retirements WHERE NOT done),
decided AS (
    SELECT c.winner, c.loser, c.rule, c.settled, w.state AS above, l.state AS below
    FROM contests c JOIN edit_states w ON w.edit_id = c.winner
    JOIN edit_states l ON l.edit_id = c.loser
    WHERE w.state IN ('ready', 'planned', 'trained', 'active')
      AND l.state IN ('ready', 'planned', 'trained', 'active')
    QUALIFY row_number() OVER (PARTITION BY least(c.winner, c.loser), greatest(c.winner, c.loser)
                               ORDER BY c.rowid DESC) = 1)
SELECT loser, below::VARCHAR, winner, rule FROM decided
WHERE (below = 'ready' AND NOT settled)
   OR (below = 'active' AND above = 'active' AND winner NOT IN (FROM leaving)
       AND loser NOT IN (FROM leaving))
"""


def settle(con: Connection, rules: IntakeRules, at: datetime) -> int:
    """Decide on every admitted edit (`admissions` with no hold), against each other and the rest.

    Returns the number of contradictions found.
    """
    _find_rivals(con)
    contenders, rivals = _load(con)
    steps, decisions = decide(contenders, rivals, rules)
    move_received(
        con,
        "SELECT edit_id, 'accepted' AS reason, NULL AS hold FROM admissions WHERE hold IS NULL "
        "AND edit_id NOT IN (SELECT edit_id FROM contested)",
        states.READY,
        at,
        "ingest",
    )
    states.move_each(con, steps, at=at, actor=ACTOR)
    record(con, decisions, at)
    con.execute("DROP TABLE contested; DROP TABLE rivalries")
    return len(decisions)


def settle_among(con: Connection, ids: list[str], rules: IntakeRules, at: datetime) -> int:
    """Settle contradictions that came to light among edits that are ready or in use.

    Returns how many were found; what was decided before stays as it is.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE admissions AS SELECT e.edit_id, e.target, NULL AS hold, "
        "false AS approved FROM edits e JOIN edit_states s USING (edit_id) "
        "WHERE e.edit_id IN (SELECT unnest(?::VARCHAR[])) "
        "AND s.state IN ('ready', 'planned', 'trained', 'active')",
        [ids],
    )
    _find_rivals(con)
    contenders, rivals = _load(con)
    undecided = {
        row[0]
        for row in con.execute(
            "SELECT loser FROM contests WHERE winner IS NULL "
            "AND loser IN (SELECT edit_id FROM contested)"
        ).fetchall()
    }
    steps, decisions = decide(contenders, rivals, rules)
    decisions = [d for d in decisions if d[0] is not None or d[1] not in undecided]
    states.move_each(con, steps, at=at, actor=ACTOR)
    record(con, decisions, at)
    con.execute("DROP TABLE contested; DROP TABLE rivalries; DROP TABLE admissions")
    retire_losers(con, at)
    return len(decisions)


def settle_rekeyed(con: Connection, rules: IntakeRules, at: datetime) -> int:
    """Settle contradictions that a change of the rule for questions has brought to light.

    A migration names the edits (`rekeyed`); returns how many contradictions were found.
    """
    ids = [row[0] for row in con.execute("SELECT edit_id FROM rekeyed").fetchall()]
    if not ids:
        return 0
    con.execute("DELETE FROM rekeyed")
    return settle_among(con, ids, rules, at)


def retire_losers(con: Connection, at: datetime) -> None:
    """See to losers that were in use when it was decided, and stand beside their winner now.

    One that came back from its job ends; one that is active, as its winner is, is to be taken out
    with the next version.
    """
    beaten = con.execute(_BEATEN).fetchall()
    why = "contradicted by {}: {}"
    back = {loser: why.format(*by) for loser, state, *by in beaten if state == states.READY}
    ended = [(loser, states.SUPERSEDED, reason, None) for loser, reason in back.items()]
    states.move_each(con, ended, at=at, actor=ACTOR)
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
    decisions: Decisions,
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
    con.execute(  # what it reverses is over
        "UPDATE contests AS c SET settled = true FROM decided d "
        "WHERE c.winner = d.loser AND c.loser = d.winner AND NOT c.settled"
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
    """Who is in a contest, and the rivals of each; beside a source that lets an edit in by itself
    no other counts."""
    rows = con.execute(
        """WITH told AS (
            SELECT edit_id, coalesce(
                list(DISTINCT source) FILTER (WHERE policy = 'auto' AND NOT blocked),
                list(DISTINCT source) FILTER (WHERE policy = 'quorum' AND NOT blocked),
                list(DISTINCT source)) AS sources
            FROM reports JOIN sources USING (source)
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
        edit_id: Contender(
            edit_id, target, state, fresh, seq, valid_from, trust, frozenset(sources or ()),
            frozenset(filter(None, (edit_id, external_id))), frozenset(declared or ()), prompt,
            approved,
        )
        for edit_id, target, state, fresh, seq, valid_from, trust, sources, external_id, declared,
        prompt, approved in rows
    }  # fmt: skip
    by_key: dict[int, list[str]] = defaultdict(list)
    for key, edit_id in con.execute("SELECT hash(key), edit_id FROM rivalries").fetchall():
        by_key[key].append(edit_id)
    rivals: dict[str, set[str]] = defaultdict(set)
    for members in by_key.values():
        for one, other in permutations(members, 2):
            if contenders[one].target != contenders[other].target:
                rivals[one].add(other)
    _leave_decided(con, contenders, rivals)
    return contenders, rivals


def _leave_decided(
    con: Connection, contenders: dict[str, Contender], rivals: dict[str, set[str]]
) -> None:
    """Two that are ready or in use are no rivals any more once it was decided between them."""
    live = {one.id for one in contenders.values() if one.state in states.LIVE}
    if not any(found & live for one, found in rivals.items() if one in live):
        return
    for winner, loser in con.execute(
        "SELECT winner, loser FROM contests WHERE winner IN (SELECT edit_id FROM contested) "
        "AND loser IN (SELECT edit_id FROM contested)"
    ).fetchall():
        if winner in live and loser in live:
            rivals[winner].discard(loser)
            rivals[loser].discard(winner)
