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


def know_sources(con: Connection, rules: IntakeRules, at: datetime) -> None:
    """Record new sources and the rules in force for each; a block stays what it is."""
    seen = [
        row[0]
        for row in con.execute(
            "SELECT source FROM judged GROUP BY source UNION SELECT source FROM sources"
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
               NULL, NULL, NULL
        FROM judged j JOIN sources s USING (source) WHERE j.outcome = 'accepted'""",
        [at],
    )
    con.execute(
        "INSERT INTO transitions SELECT edit_id, NULL, 'received', ?, source, "
        "'reported by ' || source, NULL, NULL FROM judged WHERE outcome = 'accepted'",
        [at],
    )


def note_duplicates(con: Connection, at: datetime) -> list[str]:
    """Let known edits learn from being reported again; returns those to be judged anew.

    A later valid-from, a longer validity, urgency and a more trusted source are taken over.
    Judged anew are: held ones, and ended ones with new evidence (a later valid-from, or for a
    superseded one a source that had not said so before).
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE again AS
        SELECT j.edit_id, max(j.valid_from) AS valid_from, max(j.valid_to) AS valid_to,
               bool_or(j.urgent) AS urgent, max(s.trust) AS trust,
               count(DISTINCT j.source) AS sources
        FROM judged j JOIN sources s USING (source)
        WHERE j.outcome = 'duplicate' AND NOT s.blocked
          AND j.edit_id NOT IN (SELECT edit_id FROM fresh)
        GROUP BY j.edit_id"""
    )
    revived = con.execute(
        """SELECT e.edit_id FROM again a JOIN edit_states e USING (edit_id)
        WHERE e.state = 'held'
           OR (e.state IN ('superseded', 'expired')
               AND a.valid_from > coalesce(e.valid_from, '-infinity'))
           OR (e.state = 'superseded' AND EXISTS (
                SELECT 1 FROM judged j WHERE j.edit_id = e.edit_id AND j.source NOT IN (
                    SELECT r.source FROM reports r WHERE r.edit_id = e.edit_id)))"""
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
    con.execute("DROP TABLE again")
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
        con.executemany("INSERT INTO fresh VALUES (?)", [[edit_id] for edit_id in revived])
    con.execute(
        """CREATE OR REPLACE TEMP TABLE evidence AS
        SELECT r.edit_id, count(DISTINCT r.source) AS sources,
               bool_or(s.policy = 'auto') AS automatic,
               min(s.quorum) FILTER (WHERE s.policy = 'quorum') AS quorum
        FROM reports r JOIN sources s USING (source)
        WHERE r.edit_id IN (SELECT edit_id FROM fresh) AND NOT s.blocked
        GROUP BY r.edit_id"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE hourly AS
        SELECT e.edit_id, e.source, row_number() OVER (PARTITION BY e.source ORDER BY e.seq)
               + (SELECT count(*) FROM reports r WHERE r.source = e.source
                  AND r.outcome = 'accepted' AND r.received_at > ?::TIMESTAMPTZ - INTERVAL 1 HOUR
                  AND r.edit_id NOT IN (SELECT edit_id FROM fresh)) AS place, s.max_per_hour
        FROM edits e JOIN sources s USING (source)
        WHERE s.max_per_hour IS NOT NULL AND e.edit_id IN (SELECT edit_id FROM fresh)""",
        [at],
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE admissions AS
        SELECT e.edit_id, e.target,
               CASE WHEN e.target IS NULL THEN 'answer'
                    WHEN v.edit_id IS NULL THEN 'blocked'
                    WHEN h.place > h.max_per_hour THEN 'rate'
                    WHEN NOT v.automatic AND v.quorum IS NULL THEN 'review'
                    WHEN NOT v.automatic AND v.sources < v.quorum THEN 'quorum'
                    WHEN s.valid_to <= ? THEN 'expired'
                    WHEN s.valid_from > ? THEN 'later' END AS hold
        FROM edits e JOIN edit_states s USING (edit_id)
        LEFT JOIN evidence v USING (edit_id) LEFT JOIN hourly h USING (edit_id)
        WHERE e.edit_id IN (SELECT edit_id FROM fresh)""",
        [at, at],
    )
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


def _move_in_bulk(con: Connection, at: datetime, which: str, to: str, reason: str) -> None:
    """Move edits of `admissions`, all of them `received`, by SQL fragments of this module."""
    contests.move_received(
        con,
        f"SELECT edit_id, {reason} AS reason, hold FROM admissions WHERE {which}",
        to,
        at,
        "ingest",
    )
