"""Overview: is it getting better or worse, what serves, how long does a report take to be live?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from ledger.insight.readcopy import row, rows, table
from ledger.states import PENDING
from ledger.store import Connection

SHARES = ("share", "edits that pass")  # between 0 and 1: of probes, or of edits
MAIN_METRICS = (*SHARES, "perplexity ratio")  # one of them is a suite's own figure
WINDOW = timedelta(days=30)


def champion(con: Connection) -> dict[str, Any] | None:
    """The version that serves: version, number, since, actor, reason."""
    return row(con, _CHAMPION)


def headline(con: Connection, now: datetime) -> dict[str, Any]:
    """One row: edits in use and waiting, the oldest of them, and what the last 30 days brought.

    live_p50, live_p95: seconds from report to use, of edits that came into use in these days.
    """
    return rows(con, _HEADLINE, {"now": now, "since": now - WINDOW})[0]


def suites(con: Connection, last: int | None = None, since: datetime | None = None) -> pa.Table:
    """A row for each suite of each of the latest versions, with Wilson's 95% interval of its share.

    version, number (1 is the first ever), created_at, suite, metric, value, low, high, threshold,
    probes, failed, passed (the suite), gate (the version).
    """
    return table(con, _SUITES, {"last": last, "since": since})


def releases(con: Connection, last: int | None = None, since: datetime | None = None) -> pa.Table:
    """A row for each of the latest versions: number, gate, edits in and out, what it came to.

    fate: "serves", "served", "rejected" or "never served". rollback: how often it came to serve
    by a rollback.
    """
    return table(con, _RELEASES, {"last": last, "since": since})


def live_times(con: Connection, since: datetime | None = None) -> pa.Table:
    """Seconds from report to first use by the week of that use: week, edits, p50, p95."""
    return table(con, _LIVE_TIMES, {"since": since})


def backlog(con: Connection, now: datetime) -> pa.Table:
    """Edits that wait, by age and state: place (0 is the youngest), age, state, edits."""
    return table(con, _BACKLOG, {"now": now})


def alerts(con: Connection, now: datetime) -> list[dict[str, Any]]:
    """What an operator should see of a day, newest first: happened_at, severity, kind, message."""
    return rows(con, _ALERTS, {"now": now, "since": now - timedelta(days=1)})


_CHAMPION = """
SELECT c.version, c.happened_at AS since, c.actor, c.reason,
       (SELECT count(*) FROM versions o WHERE (o.created_at, o.rowid) <= (v.created_at, v.rowid))
           AS number
FROM (SELECT * FROM champions ORDER BY seq DESC LIMIT 1) c JOIN versions v ON v.version_id = c.version
"""

_FIRST_USE = """
first_use AS (
    SELECT edit_id, min(happened_at) AS moment FROM transitions
    WHERE to_state = 'active' GROUP BY edit_id)
"""

_HEADLINE = f"""
WITH {_FIRST_USE},
live AS (
    SELECT epoch(f.moment) - epoch(e.received_at) AS seconds
    FROM first_use f JOIN edits e USING (edit_id) WHERE f.moment > $since AND f.moment <= $now),
gates AS (
    SELECT arg_max(passed, happened_at) AS passed FROM verdicts
    WHERE happened_at > $since AND happened_at <= $now GROUP BY version_id)
SELECT s.active, s.waiting, s.oldest,
       live.edits AS live_edits, live.p50 AS live_p50, live.p95 AS live_p95,
       gates.passed AS gates_passed, gates.failed AS gates_failed,
       (SELECT count(*) FROM reports) AS reports
FROM (SELECT count(*) FILTER (WHERE state = 'active') AS active,
             count(*) FILTER (WHERE state IN {PENDING}) AS waiting,
             min(since) FILTER (WHERE state IN {PENDING}) AS oldest
      FROM edit_states) s,
     (SELECT count(*) AS edits, quantile_cont(seconds, 0.5) AS p50, quantile_cont(seconds, 0.95) AS p95
      FROM live) live,
     (SELECT count(*) FILTER (WHERE passed) AS passed, count(*) FILTER (WHERE NOT passed) AS failed
      FROM gates) gates
"""

_CHOSEN = """
numbered AS (
    SELECT *, row_number() OVER (ORDER BY created_at, rowid) AS number FROM versions),
chosen AS (
    SELECT * FROM numbered WHERE ($since IS NULL OR created_at >= $since)
    QUALIFY $last IS NULL OR row_number() OVER (ORDER BY number DESC) <= $last),
gates AS (
    SELECT version_id, arg_max(passed, happened_at) AS passed, arg_max(reason, happened_at) AS reason
    FROM verdicts WHERE version_id IN (SELECT version_id FROM chosen) GROUP BY version_id)
"""

_SUITES = f"""
WITH {_CHOSEN},
latest AS (
    SELECT s.*, c.number, c.created_at, g.passed AS gate
    FROM suite_verdicts s JOIN chosen c USING (version_id) LEFT JOIN gates g USING (version_id)
    WHERE s.metric IN {MAIN_METRICS}
    QUALIFY s.happened_at = max(s.happened_at) OVER (PARTITION BY s.version_id)),
spread AS (SELECT *, 1.959964 AS z, greatest(probes, 1) AS n FROM latest)
SELECT version_id AS version, number, created_at, suite, metric, value,
       CASE WHEN metric IN {SHARES} THEN greatest(0.0,
           (value + z * z / (2 * n) - z * sqrt(value * (1 - value) / n + z * z / (4 * n * n)))
           / (1 + z * z / n)) END AS low,
       CASE WHEN metric IN {SHARES} THEN least(1.0,
           (value + z * z / (2 * n) + z * sqrt(value * (1 - value) / n + z * z / (4 * n * n)))
           / (1 + z * z / n)) END AS high,
       threshold, probes, failed, passed, gate
FROM spread ORDER BY suite, number
"""

_RELEASES = f"""
WITH {_CHOSEN},
served AS (
    SELECT version, min(happened_at) AS served_at,
           count(*) FILTER (WHERE again) AS rollback,
           max(happened_at) FILTER (WHERE again) AS rolled_back_at
    FROM (SELECT *, row_number() OVER (PARTITION BY version ORDER BY seq) > 1 AS again FROM champions)
    GROUP BY version)
SELECT c.version_id AS version, c.number, c.created_at, g.passed AS gate, g.reason,
       len(c.edits_added) AS added, len(c.edits_removed) AS removed, s.served_at,
       coalesce(s.rollback, 0) AS rollback, s.rolled_back_at,
       CASE WHEN c.version_id = (SELECT arg_max(version, seq) FROM champions) THEN 'serves'
            WHEN s.served_at IS NOT NULL THEN 'served'
            WHEN g.passed = false THEN 'rejected' ELSE 'never served' END AS fate
FROM chosen c LEFT JOIN gates g USING (version_id) LEFT JOIN served s ON s.version = c.version_id
ORDER BY c.number
"""

_LIVE_TIMES = f"""
WITH {_FIRST_USE}
SELECT date_trunc('week', f.moment)::DATE AS week, count(*) AS edits,
       quantile_cont(epoch(f.moment) - epoch(e.received_at), 0.5) AS p50,
       quantile_cont(epoch(f.moment) - epoch(e.received_at), 0.95) AS p95
FROM first_use f JOIN edits e USING (edit_id)
WHERE $since IS NULL OR f.moment >= $since GROUP BY week ORDER BY week
"""

_BACKLOG = f"""
WITH ages AS (
    SELECT state::VARCHAR AS state, epoch($now::TIMESTAMPTZ) - epoch(since) AS age FROM edit_states
    WHERE state IN {PENDING})
SELECT CASE WHEN age < 3600 THEN 0 WHEN age < 86400 THEN 1 WHEN age < 7 * 86400 THEN 2
            WHEN age < 30 * 86400 THEN 3 ELSE 4 END AS place,
       ['under 1 hour', '1 to 24 hours', '1 to 7 days', '7 to 30 days', 'over 30 days'][place + 1]
           AS age,
       state, count(*) AS edits
FROM ages GROUP BY ALL ORDER BY place, state
"""

_ALERTS = """
SELECT * FROM (
    SELECT happened_at, severity, kind, message, version FROM events
    WHERE severity <> 'info' AND happened_at > $since AND happened_at <= $now
    UNION ALL
    SELECT d.happened_at, 'warning', 'version rejected', d.reason, d.version_id FROM verdicts d
    WHERE NOT d.passed AND d.happened_at > $since AND d.happened_at <= $now
    UNION ALL
    SELECT finished_at, 'error', 'job failed', coalesce(error, 'no reason on record'), version FROM jobs
    WHERE state = 'failed' AND finished_at > $since AND finished_at <= $now
    UNION ALL
    SELECT happened_at, 'warning', 'rolled back', reason, version
    FROM (SELECT *, row_number() OVER (PARTITION BY version ORDER BY seq) > 1 AS again FROM champions)
    WHERE again AND happened_at > $since AND happened_at <= $now)
ORDER BY happened_at DESC LIMIT 50
"""
