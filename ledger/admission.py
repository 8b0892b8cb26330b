"""Who may change what: from `received` to held or ready, by the trust in the sources.

An edit is held, with its reason in `hold`, while
    answer         nobody has said what the right answer is
    review         its source's policy asks for a person
    quorum         its source's policy asks for more independent sources
    rate           its source has sent more than its share this hour
    later          what it says is not valid yet
    contradiction  it contradicts another and no rule decides (ledger/contests.py)
Only what is not held takes part in a contest, so an untrusted report never displaces anything.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from ledger import contests, states
from ledger.store import Connection
from ledger.types import IntakeRules


def readmit(con: Connection, rules: IntakeRules, at: datetime, ids: list[str]) -> int:
    """Judge edits anew that were just moved back to `received`."""
    if not ids:
        return 0
    con.execute("CREATE OR REPLACE TEMP TABLE fresh (edit_id VARCHAR, line BIGINT)")
    found = admit(con, rules, at, ids)
    con.execute("DROP TABLE fresh")
    return found


def know_sources(con: Connection, rules: IntakeRules, at: datetime) -> None:
    """Record new sources and the rules in force for each; a block stays what it is."""
    seen = [
        row[0]
        for row in con.execute(
            "SELECT source FROM staged GROUP BY source UNION SELECT source FROM sources"
        ).fetchall()
    ]
    named = {rule.name: rule for rule in rules.sources}
    rows = [(name, named.get(name, rules.default)) for name in seen if name is not None]
    con.register(
        "given_sources",
        pa.table(
            {
                "source": pa.array([name for name, _ in rows], pa.string()),
                "trust": pa.array([rule.trust for _, rule in rows], pa.int32()),
                "policy": pa.array([rule.policy for _, rule in rows], pa.string()),
                "quorum": pa.array([rule.quorum for _, rule in rows], pa.int32()),
                "max_per_hour": pa.array([rule.max_per_hour for _, rule in rows], pa.int32()),
            }
        ),
    )
    con.execute(
        """INSERT INTO sources (source, trust, policy, quorum, max_per_hour, first_seen)
        SELECT g.*, ? FROM given_sources g
        ON CONFLICT DO UPDATE SET trust = excluded.trust, policy = excluded.policy,
            quorum = excluded.quorum, max_per_hour = excluded.max_per_hour""",
        [at],
    )
    con.unregister("given_sources")


def receive(con: Connection, at: datetime) -> None:
    """Begin the life of every accepted line's edit."""
    con.execute(
        """INSERT INTO edit_states
        SELECT j.edit_id, 'received', ?, NULL, s.trust, j.valid_from, j.valid_to, j.urgent,
               NULL, NULL, NULL, NULL, NULL
        FROM accepted j JOIN sources s USING (source)""",
        [at],
    )
    con.execute(
        "INSERT INTO transitions SELECT edit_id, NULL, 'received', ?, source, "
        "'reported by ' || source, NULL, NULL FROM accepted",
        [at],
    )


def note_duplicates(con: Connection, at: datetime) -> list[str]:
    """Let known edits learn from being reported again; returns those to be judged anew.

    A later valid-from, a longer validity, urgency and a more trusted source are taken over.
    Judged anew are held, superseded and expired ones that bring new evidence: a later valid-from,
    or (not for an expired one) a source that had not said so before.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE said AS
        SELECT j.edit_id, j.source, max(j.valid_from) AS valid_from, max(j.valid_to) AS valid_to,
               bool_or(j.urgent) AS urgent, any_value(s.trust) AS trust
        FROM staged j JOIN sources s USING (source)
        WHERE j.problem IS NULL AND NOT s.blocked
          AND j.edit_id NOT IN (SELECT edit_id FROM fresh)
        GROUP BY j.edit_id, j.source"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE again AS
        SELECT edit_id, max(valid_from) AS valid_from, max(valid_to) AS valid_to,
               bool_or(urgent) AS urgent, max(trust) AS trust FROM said GROUP BY edit_id"""
    )
    revived = con.execute(
        """WITH waiting AS (
            SELECT e.edit_id, a.valid_from > coalesce(e.valid_from, '-infinity') AS later
            FROM again a JOIN edit_states e USING (edit_id)
            WHERE (e.state = 'held' AND e.hold IN ('quorum', 'contradiction', 'blocked'))
               OR e.state IN ('superseded', 'expired')),
        told AS (
            SELECT DISTINCT edit_id, source FROM reports
            WHERE edit_id IN (SELECT edit_id FROM waiting))
        SELECT edit_id FROM waiting WHERE later
        UNION
        SELECT s.edit_id FROM said s JOIN edit_states e USING (edit_id)
        WHERE e.edit_id IN (SELECT edit_id FROM waiting) AND e.state <> 'expired'
          AND NOT EXISTS (SELECT 1 FROM told t
                          WHERE t.edit_id = s.edit_id AND t.source = s.source)"""
    ).fetchall()
    con.execute(
        """UPDATE edit_states AS e SET
               valid_from = greatest(e.valid_from, a.valid_from),
               valid_to = CASE WHEN a.valid_to IS NULL THEN e.valid_to
                               ELSE greatest(e.valid_to, a.valid_to) END,
               urgent = e.urgent OR a.urgent, trust = greatest(e.trust, a.trust)
        FROM again a WHERE a.edit_id = e.edit_id AND (
            a.valid_from > coalesce(e.valid_from, '-infinity')
            OR a.valid_to IS DISTINCT FROM e.valid_to OR (a.urgent AND NOT e.urgent)
            OR a.trust > e.trust)"""
    )
    con.execute("DROP TABLE again; DROP TABLE said")
    ids = [row[0] for row in revived]
    states.move(
        con, ids, states.RECEIVED, at=at, actor="ingest", reason="reported again with new evidence"
    )
    return ids


def admit(con: Connection, rules: IntakeRules, at: datetime, revived: list[str]) -> int:
    """Hold or admit the edits in the temp table `fresh` and `revived`; settle contradictions.

    Returns how many contradictions were found.
    """
    if revived:
        con.execute("INSERT INTO fresh SELECT unnest(?::VARCHAR[]), NULL", [revived])
    # New edits have all their evidence in this chunk; only revived ones need a look at the rest.
    told = "SELECT edit_id, source FROM reports WHERE edit_id IN (SELECT edit_id FROM fresh)"
    if not revived:
        told = "SELECT edit_id, source FROM staged WHERE edit_id IN (SELECT edit_id FROM fresh)"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE evidence AS
        SELECT r.edit_id, count(DISTINCT r.source) AS sources,
               bool_or(s.policy = 'auto') AS automatic,
               min(s.quorum) FILTER (WHERE s.policy = 'quorum') AS quorum
        FROM ({told}) r JOIN sources s USING (source) WHERE NOT s.blocked GROUP BY r.edit_id"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE hourly AS
        WITH passed AS (
            SELECT e.source, count(DISTINCT t.edit_id) AS passed
            FROM sources s JOIN edits e USING (source) JOIN transitions t USING (edit_id)
            WHERE s.max_per_hour IS NOT NULL AND t.to_state = 'ready'
              AND t.happened_at > ?::TIMESTAMPTZ - INTERVAL 1 HOUR
            GROUP BY e.source)
        SELECT e.edit_id, s.max_per_hour, coalesce(p.passed, 0)
               + row_number() OVER (PARTITION BY e.source ORDER BY e.seq) AS place
        FROM edits e JOIN sources s USING (source) LEFT JOIN passed p USING (source)
        WHERE s.max_per_hour IS NOT NULL AND e.edit_id IN (SELECT edit_id FROM fresh)""",
        [at],
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE admissions AS
        SELECT e.edit_id, e.target, coalesce(s.approved, false) AS approved,
               CASE WHEN e.target IS NULL THEN 'answer'
                    WHEN s.valid_to <= ? THEN 'expired'
                    WHEN s.valid_from > ? THEN 'later'
                    WHEN approved THEN NULL
                    WHEN v.edit_id IS NULL THEN 'blocked'
                    WHEN h.place > h.max_per_hour THEN 'rate'
                    WHEN NOT v.automatic AND v.quorum IS NULL THEN 'review'
                    WHEN NOT v.automatic AND v.sources < v.quorum THEN 'quorum' END AS hold
        FROM edits e JOIN edit_states s USING (edit_id)
        LEFT JOIN evidence v USING (edit_id) LEFT JOIN hourly h USING (edit_id)
        WHERE e.edit_id IN (SELECT edit_id FROM fresh)""",
        [at, at],
    )
    _end_answered(con, at)
    _move_in_bulk(con, at, "hold IS NOT NULL AND hold <> 'expired'", states.HELD, _HOLD_REASON)
    _move_in_bulk(con, at, "hold = 'expired'", states.EXPIRED, "'was no longer valid when it came'")
    found = contests.settle(con, rules, at)
    con.execute("DROP TABLE evidence; DROP TABLE hourly; DROP TABLE admissions")
    return found


_HOLD_REASON = """CASE hold
    WHEN 'answer' THEN 'the right answer is not known yet'
    WHEN 'blocked' THEN 'every source of it is blocked'
    WHEN 'rate' THEN 'its source has sent more than its share this hour'
    WHEN 'review' THEN 'its source asks for a review'
    WHEN 'quorum' THEN 'waits for more independent sources'
    WHEN 'later' THEN 'is not valid yet' END"""


def _end_answered(con: Connection, at: datetime) -> None:
    """A report without an answer ends when the same question comes with one."""
    answered = con.execute(
        """SELECT o.edit_id, any_value(a.edit_id) FROM admissions a
        JOIN questions q ON q.edit_id = a.edit_id JOIN questions p ON p.key = q.key
        JOIN edit_states o ON o.edit_id = p.edit_id
        WHERE a.hold IS NULL AND o.state = 'held' AND o.hold = 'answer'
        GROUP BY o.edit_id"""
    ).fetchall()
    states.move_each(
        con,
        [(old, states.SUPERSEDED, f"answered by {new}", None) for old, new in answered],
        at=at,
        actor="ingest",
    )


def _move_in_bulk(con: Connection, at: datetime, which: str, to: str, reason: str) -> None:
    """Move edits of `admissions`, all of them `received`, by SQL fragments of this module."""
    contests.move_received(
        con,
        f"SELECT edit_id, {reason} AS reason, hold FROM admissions WHERE {which}",
        to,
        at,
        "ingest",
    )
