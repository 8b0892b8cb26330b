"""Queue: what waits and why, who contradicts whom, who reports and how much of it is any good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from ledger.insight.readcopy import rows, table
from ledger.states import ENDED, PENDING
from ledger.store import Connection

WEEKS = 26  # of the small bars beside each source
LISTED, REVIEWED, REASONS = 200, 100, 12  # edits that wait, those for a person, reasons: at most


def reasons(con: Connection, now: datetime) -> pa.Table:
    """Edits that wait by state and reason: state, why, edits, urgent, oldest_seconds, median_seconds."""
    return table(con, _REASONS, {"now": now})


def edits(
    con: Connection,
    now: datetime,
    *,
    state: str | None = None,
    source: str | None = None,
) -> pa.Table:
    """Waiting edits, the longest first: edit, state, hold, hours, urgent, source,
    prompt, target."""
    return table(con, _EDITS, {"now": now, "state": state, "source": source, "limit": LISTED})


def contradictions(
    con: Connection, *, only_open: bool = True, limit: int = 50, offset: int = 0
) -> list[dict[str, Any]]:
    """Pairs of edits that answer one question differently, both sides whole, the latest first."""
    return rows(con, _CONTRADICTIONS, {"open": only_open, "limit": limit, "offset": offset})


def contradiction_counts(con: Connection) -> dict[str, int]:
    """How many there are: `open` (nobody has won, or the loser is still in use) and `all`."""
    (counts,) = rows(
        con, 'SELECT count(*) FILTER (WHERE NOT settled) AS open, count(*) AS "all" FROM contests'
    )
    return {name: int(number) for name, number in counts.items()}


def review(con: Connection, now: datetime) -> pa.Table:
    """Edits that only a person can let in, the longest waiting first."""
    return table(con, _REVIEW, {"now": now, "limit": REVIEWED})


def to_decide(con: Connection, now: datetime) -> list[dict[str, Any]]:
    """What only a person can decide, whole: urgent ones first, then the most reported, then the oldest.

    rivals: what other answers its question has, each with edit, prompt, target, source, state, reports.
    """
    waiting = rows(con, _TO_DECIDE, {"now": now, "limit": REVIEWED})
    rivals: dict[str, list[dict[str, Any]]] = {}
    for rival in rows(con, _RIVALS, [[item["edit"] for item in waiting]]):
        rivals.setdefault(rival.pop("about"), []).append(rival)
    return [item | {"rivals": rivals.get(item["edit"], [])} for item in waiting]


def sources(con: Connection, now: datetime) -> pa.Table:
    """A row a source: trust, policy, blocked, lines by outcome, edits by fate, lines by week.

    acceptance: active / (active + rejected) of edits that were decided; NULL where none was.
    weeks: lines in each of the last 26 weeks, the present one last.
    """
    return table(con, _SOURCES, {"now": now, "since": now - timedelta(weeks=WEEKS), "weeks": WEEKS})


def quarantine(con: Connection) -> pa.Table:
    """Why lines can't be used: reason, lines, latest."""
    return table(con, _QUARANTINE, [REASONS])


_REASONS = f"""
SELECT state::VARCHAR AS state, coalesce(hold, CASE state WHEN 'ready' THEN 'for a job'
           WHEN 'planned' THEN 'for training' WHEN 'trained' THEN 'for promotion' ELSE 'to be judged' END)
           AS why,
       count(*) AS edits, count(*) FILTER (WHERE urgent) AS urgent,
       max(epoch($now::TIMESTAMPTZ) - epoch(since)) AS oldest_seconds,
       median(epoch($now::TIMESTAMPTZ) - epoch(since)) AS median_seconds
FROM edit_states WHERE state IN {PENDING} GROUP BY ALL ORDER BY edits DESC, why
"""

_EDITS = f"""
SELECT e.edit_id AS edit, s.state::VARCHAR AS state, s.hold,
       (epoch($now::TIMESTAMPTZ) - epoch(s.since)) / 3600 AS hours, s.urgent, e.source, e.prompt, e.target
FROM edit_states s JOIN edits e USING (edit_id)
WHERE s.state IN {PENDING} AND ($state IS NULL OR s.state::VARCHAR = $state)
  AND ($source IS NULL OR e.source = $source)
ORDER BY s.since, e.seq LIMIT $limit
"""

# Where nobody has won, the other side is who asks the same question and has not ended.
_CONTRADICTIONS = f"""
WITH chosen AS (
    SELECT * FROM contests WHERE NOT $open OR NOT settled
    ORDER BY decided_at DESC, loser LIMIT $limit OFFSET $offset),
rivals AS (
    SELECT c.loser, min(r.edit_id) AS rival
    FROM chosen c JOIN questions q ON q.edit_id = c.loser JOIN questions r ON r.key = q.key
         JOIN edit_states s ON s.edit_id = r.edit_id
    WHERE c.winner IS NULL AND r.edit_id <> c.loser
      AND s.state NOT IN {ENDED}
    GROUP BY c.loser),
sides AS (
    SELECT c.*, coalesce(c.winner, v.rival) AS other FROM chosen c LEFT JOIN rivals v USING (loser))
SELECT c.rule, c.key, c.decided_at, c.settled, c.winner IS NOT NULL AS decided,
       c.other AS winner, w.prompt AS winner_prompt, w.target AS winner_target,
       w.source AS winner_source, ws.state::VARCHAR AS winner_state, w.received_at AS winner_received,
       c.loser, l.prompt AS loser_prompt, l.target AS loser_target, l.source AS loser_source,
       ls.state::VARCHAR AS loser_state, l.received_at AS loser_received
FROM sides c LEFT JOIN edits w ON w.edit_id = c.other LEFT JOIN edit_states ws ON ws.edit_id = c.other
     LEFT JOIN edits l ON l.edit_id = c.loser LEFT JOIN edit_states ls ON ls.edit_id = c.loser
ORDER BY c.decided_at DESC, c.loser
"""

_REVIEW = """
SELECT e.edit_id AS edit, s.hold, (epoch($now::TIMESTAMPTZ) - epoch(s.since)) / 3600 AS hours, e.source,
       e.prompt, e.target
FROM edit_states s JOIN edits e USING (edit_id)
WHERE s.state = 'held' AND s.hold IN ('review', 'contradiction', 'answer')
ORDER BY s.since, e.seq LIMIT $limit
"""

_TO_DECIDE = """
WITH waiting AS (
    SELECT edit_id, hold, since, urgent FROM edit_states
    WHERE state = 'held' AND hold IN ('review', 'contradiction', 'answer')),
counted AS (
    SELECT edit_id, count(*) AS reports, count(DISTINCT source) AS sources FROM reports
    WHERE edit_id IN (SELECT edit_id FROM waiting) GROUP BY edit_id),
named AS (
    SELECT edit_id, max_by(subject, said_at) AS subject FROM subjects
    WHERE edit_id IN (SELECT edit_id FROM waiting) GROUP BY edit_id)
SELECT w.edit_id AS edit, w.hold, (epoch($now::TIMESTAMPTZ) - epoch(w.since)) / 3600 AS hours, w.urgent,
       e.source, e.prompt, e.messages, e.target, e.old_answer, coalesce(n.subject, e.subject) AS subject,
       e.rephrases, c.reports, c.sources
FROM waiting w JOIN edits e USING (edit_id) JOIN counted c USING (edit_id)
LEFT JOIN named n USING (edit_id)
ORDER BY w.urgent DESC, c.reports DESC, w.since, e.seq LIMIT $limit
"""

_RIVALS = f"""
SELECT DISTINCT o.edit_id AS about, e.edit_id AS edit, e.prompt, e.target, e.source,
       s.state::VARCHAR AS state,
       (SELECT count(*) FROM reports r WHERE r.edit_id = e.edit_id) AS reports, e.seq
FROM questions o JOIN questions q USING (key) JOIN edits e ON e.edit_id = q.edit_id
JOIN edit_states s ON s.edit_id = e.edit_id JOIN edits m ON m.edit_id = o.edit_id
WHERE o.edit_id IN (SELECT unnest(?::VARCHAR[])) AND q.edit_id <> o.edit_id AND e.target IS NOT NULL
  AND e.target IS DISTINCT FROM m.target
  AND s.state NOT IN {ENDED}
ORDER BY about, e.seq
"""

_SOURCES = """
WITH lines AS (
    SELECT coalesce(source, '') AS source, count(*) AS lines,
           count(*) FILTER (WHERE outcome = 'duplicate') AS duplicates,
           count(*) FILTER (WHERE outcome = 'quarantined') AS quarantined,
           max(received_at) AS latest
    FROM reports GROUP BY 1),
weekly AS (
    SELECT coalesce(source, '') AS source,
           (floor((epoch(received_at) - epoch($since::TIMESTAMPTZ)) / (7 * 86400)))::BIGINT AS week,
           count(*) AS lines
    FROM reports WHERE received_at > $since AND received_at <= $now GROUP BY ALL),
weeks AS (
    SELECT n.source, list(coalesce(w.lines, 0) ORDER BY n.week) AS weeks
    FROM (SELECT source, week FROM lines, range($weeks) t(week)) n
         LEFT JOIN weekly w USING (source, week) GROUP BY n.source),
fates AS (
    SELECT e.source, count(*) AS edits, count(*) FILTER (WHERE s.state = 'active') AS active,
           count(*) FILTER (WHERE s.state = 'rejected') AS rejected,
           count(*) FILTER (WHERE s.state = 'held') AS held
    FROM edits e JOIN edit_states s USING (edit_id) GROUP BY e.source)
SELECT l.source, q.trust, q.policy, coalesce(q.blocked, false) AS blocked, l.lines, l.duplicates,
       l.quarantined, coalesce(f.edits, 0) AS edits, coalesce(f.active, 0) AS active,
       coalesce(f.rejected, 0) AS rejected, coalesce(f.held, 0) AS held,
       f.active / nullif(f.active + f.rejected, 0) AS acceptance, l.latest, k.weeks
FROM lines l LEFT JOIN sources q USING (source) LEFT JOIN fates f USING (source)
     LEFT JOIN weeks k USING (source)
ORDER BY l.lines DESC, l.source
"""

_QUARANTINE = """
SELECT coalesce(reason, 'no reason on record') AS reason, count(*) AS lines, max(received_at) AS latest
FROM reports WHERE outcome = 'quarantined' GROUP BY 1 ORDER BY lines DESC, reason LIMIT ?
"""
