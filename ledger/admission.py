"""Who may change what: from `received` to held or ready, by the trust in the sources.

An edit is held, with its reason in `hold`, while
    answer         nobody has said what the right answer is
    review         its source's policy asks for a person
    quorum         its source's policy asks for more independent sources
    blocked        all that said so are blocked
    rate           its source has sent more than its share this hour
    later          what it says is not valid yet
    contradiction  it contradicts another and no rule decides (ledger/settling.py)
Only what is not held takes part in a contest. What is said again is judged by who says it again,
and only a source that may let an edit in by itself changes its dates or its trust. So an untrusted
report never displaces anything.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from ledger import settling, states
from ledger.store import Connection, first
from ledger.types import IntakeRules


def readmit(con: Connection, rules: IntakeRules, at: datetime, ids: list[str]) -> int:
    """Judge edits anew that were just moved back to `received`, by all that was ever said."""
    if not ids:
        return 0
    con.execute("CREATE OR REPLACE TEMP TABLE fresh (edit_id VARCHAR, line BIGINT)")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE voices AS SELECT edit_id, source FROM reports "
        "WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))",
        [ids],
    )
    found = admit(con, rules, at, ids, told="FROM voices", said="SELECT edit_id FROM voices")
    con.execute("DROP TABLE fresh; DROP TABLE voices")
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

    A later valid-from, a longer validity and more trust are taken over from sources that let an
    edit in by themselves, dates only from those trusted as much as the edit is, and from a quorum
    that lets it in; urgency from all. What has no end gets none. Judged anew are those that are

        blocked                and said by one that is not blocked any more
        quorum                 and said by a source that had not said so before
        superseded             the same, or said to be valid from a later day
        review, contradiction  and said by a new source that lets it in, or a quorum does
        expired                and a later valid-from is taken over

    with, in `voices`, who speaks for them.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE said AS
        SELECT j.edit_id, j.source, max(j.valid_from) AS valid_from, max(j.valid_to) AS valid_to,
               bool_or(j.urgent) AS urgent, any_value(s.trust) AS trust,
               any_value(s.policy) AS policy, any_value(s.quorum) AS quorum
        FROM staged j JOIN sources s USING (source)
        WHERE j.problem IS NULL AND NOT s.blocked
          AND j.edit_id NOT IN (SELECT edit_id FROM fresh)
        GROUP BY j.edit_id, j.source"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE again AS
        SELECT s.edit_id, any_value(CASE WHEN e.state = 'held' THEN e.hold
                                         ELSE e.state::VARCHAR END) AS stands,
               any_value(e.valid_from) AS known_from, max(s.valid_from) AS claimed_from,
               max(s.valid_from) FILTER (WHERE s.policy = 'auto' AND s.trust >= e.trust)
                   AS valid_from,
               max(s.valid_to) FILTER (WHERE s.policy = 'auto' AND s.trust >= e.trust) AS valid_to,
               max(s.valid_from) FILTER (WHERE s.policy = 'quorum' AND s.trust >= e.trust)
                   AS agreed_from,
               max(s.valid_to) FILTER (WHERE s.policy = 'quorum' AND s.trust >= e.trust)
                   AS agreed_to,
               bool_or(s.urgent) AS urgent, max(s.trust) FILTER (WHERE s.policy = 'auto') AS trust
        FROM said s JOIN edit_states e USING (edit_id) GROUP BY s.edit_id"""
    )
    ids = _revived(con)
    con.execute(
        """UPDATE edit_states AS e SET
               valid_from = greatest(e.valid_from, a.valid_from),
               valid_to = CASE WHEN a.valid_to > e.valid_to THEN a.valid_to ELSE e.valid_to END,
               urgent = e.urgent OR a.urgent, trust = greatest(e.trust, a.trust)
        FROM again a WHERE a.edit_id = e.edit_id AND (
            a.valid_from > coalesce(e.valid_from, '-infinity') OR a.valid_to > e.valid_to
            OR (a.urgent AND NOT e.urgent) OR a.trust > e.trust)"""
    )
    con.execute("DROP TABLE again; DROP TABLE said")
    states.move(
        con, ids, states.RECEIVED, at=at, actor="ingest", reason="reported again with new evidence"
    )
    if ids:  # what a person let in was what was known then
        con.execute(
            "UPDATE edit_states SET approved = NULL "
            "WHERE approved AND edit_id IN (SELECT unnest(?::VARCHAR[]))",
            [ids],
        )
    return ids


def _revived(con: Connection) -> list[str]:
    """Which edits of `again` are judged anew; fills `voices` with who speaks for them.

    A source whose policy is a quorum speaks together with those of its kind that said so before.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE waiting AS
        SELECT edit_id FROM again WHERE stands IN (
            'quorum', 'contradiction', 'review', 'blocked', 'superseded', 'expired')"""
    )
    if first(con.execute("SELECT 1 FROM waiting LIMIT 1")) is None:
        con.execute("DROP TABLE waiting")
        con.execute("CREATE OR REPLACE TEMP TABLE voices (edit_id VARCHAR, source VARCHAR)")
        return []
    con.execute(
        """CREATE OR REPLACE TEMP TABLE told AS SELECT DISTINCT edit_id, source FROM reports
        WHERE edit_id IN (SELECT edit_id FROM waiting)"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE voices AS
        SELECT edit_id, source, policy, quorum,
               NOT EXISTS (SELECT 1 FROM told t
                           WHERE t.edit_id = s.edit_id AND t.source = s.source) AS new
        FROM said s WHERE edit_id IN (SELECT edit_id FROM waiting)
        UNION ALL
        SELECT t.edit_id, t.source, q.policy, q.quorum, false
        FROM told t JOIN sources q USING (source)
        WHERE q.policy = 'quorum' AND NOT q.blocked
          AND t.edit_id IN (SELECT edit_id FROM said WHERE policy = 'quorum')"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE heard AS
        SELECT edit_id, bool_or(new) AS new, bool_or(new AND policy <> 'review') AS weighty,
               bool_or(policy = 'auto') AS automatic,
               coalesce(count(DISTINCT source) FILTER (WHERE policy = 'quorum')
                        >= min(quorum) FILTER (WHERE policy = 'quorum'), false) AS agreed
        FROM voices GROUP BY edit_id"""
    )
    con.execute(
        """UPDATE again AS a SET valid_from = greatest(valid_from, agreed_from),
                              valid_to = greatest(valid_to, agreed_to)
        FROM heard h WHERE h.edit_id = a.edit_id AND h.agreed"""
    )
    revived = con.execute(
        """SELECT edit_id FROM (
            SELECT h.*, a.stands, a.valid_from > coalesce(a.known_from, '-infinity') AS later,
                   a.claimed_from > coalesce(a.known_from, '-infinity') AS claimed_later
            FROM again a JOIN heard h USING (edit_id)) WHERE CASE stands
            WHEN 'blocked' THEN true
            WHEN 'quorum' THEN later OR weighty
            WHEN 'superseded' THEN claimed_later OR new
            WHEN 'expired' THEN later
            ELSE (automatic OR agreed) AND (later OR weighty) END"""
    ).fetchall()
    con.execute("DROP TABLE waiting; DROP TABLE told; DROP TABLE heard")
    return [row[0] for row in revived]


# What a chunk says of its edits, and who spoke before for those that it revived.
_TOLD = """SELECT edit_id, source FROM staged WHERE edit_id IN (SELECT edit_id FROM fresh)
    UNION ALL SELECT edit_id, source FROM voices"""


def admit(
    con: Connection, rules: IntakeRules, at: datetime, revived: list[str], *, told: str = _TOLD,
    said: str = "SELECT edit_id FROM staged",
) -> int:  # fmt: skip
    """Hold or admit the edits in the temp table `fresh` and `revived`; settle contradictions.

    told: yields edit_id and source, who speaks for them. said: yields the edit_id of all that is
    said now, new or not. Returns how many contradictions were found.
    """
    if revived:
        con.execute("INSERT INTO fresh SELECT unnest(?::VARCHAR[]), NULL", [revived])
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE evidence AS
        SELECT r.edit_id, count(DISTINCT r.source) FILTER (WHERE s.policy <> 'review') AS sources,
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
    _move_in_bulk(con, at, "hold IS NOT NULL AND hold <> 'expired'", states.HELD, _HOLD_REASON)
    _move_in_bulk(con, at, "hold = 'expired'", states.EXPIRED, "'was no longer valid when it came'")
    found = settling.settle(con, rules, at)
    _end_answered(con, at, said)
    con.execute("DROP TABLE evidence; DROP TABLE hourly; DROP TABLE admissions")
    return found


_HOLD_REASON = """CASE hold
    WHEN 'answer' THEN 'the right answer is not known yet'
    WHEN 'blocked' THEN 'every source of it is blocked'
    WHEN 'rate' THEN 'its source has sent more than its share this hour'
    WHEN 'review' THEN 'its source asks for a review'
    WHEN 'quorum' THEN 'waits for more independent sources'
    WHEN 'later' THEN 'is not valid yet' END"""


def _end_answered(con: Connection, at: datetime, said: str) -> None:
    """A report without an answer ends when the same question comes with one.

    So it does where an edit that answers the question waits to serve, whichever came first, and
    where one in use is said again. One in use that nobody says again ends no later report: somebody
    met a wrong answer in spite of it.
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
            OR (s.state = 'active' AND c.edit_id IN ({said})))
        GROUP BY u.edit_id"""
    ).fetchall()
    states.move_each(
        con,
        [(old, states.SUPERSEDED, f"answered by {new}", None) for old, new in answered],
        at=at,
        actor="ingest",
    )


_UNANSWERED = "state = 'held' AND hold = 'answer'"


def _move_in_bulk(con: Connection, at: datetime, which: str, to: str, reason: str) -> None:
    """Move edits of `admissions`, all of them `received`, by SQL fragments of this module."""
    settling.move_received(
        con,
        f"SELECT edit_id, {reason} AS reason, hold FROM admissions WHERE {which}",
        to,
        at,
        "ingest",
    )
