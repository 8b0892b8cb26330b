"""Version: why did it pass or fail, what came in and went out, which probes changed and who did it?"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ledger.insight.readcopy import row, rows, table
from ledger.store import Connection

SHOWN = 500


def names(con: Connection) -> list[dict[str, Any]]:
    """All versions, the latest first: version, number, gate, serves, created_at."""
    return rows(con, _NAMES)


def facts(con: Connection, version: str) -> dict[str, Any] | None:
    """One version: version, number, parent, gate, reason, counts, size, and when it served first."""
    return row(con, _FACTS, {"version": version})


def verdict(con: Connection, version: str) -> pa.Table:
    """The verdict table of the latest gate beside that of the parent, which it was compared with.

    suite, metric, value, threshold, before, change, probes, failed, passed.
    """
    return table(con, _VERDICT, {"version": version})


def changes(con: Connection, version: str) -> pa.Table:
    """Edits added and taken out: way ("added", "replaced", "revoked", "expired", ...), by, reason."""
    return table(con, _CHANGES, {"version": version, "limit": 4 * SHOWN})


def probes(con: Connection, version: str, *, only_failed: bool = True) -> pa.Table:
    """Probes that failed, or all whose answer changed too, with the edit that answered.

    suite, prompt, expected, before, after, passed, edit, edit_prompt, edit_target, distance.
    """
    return table(con, _PROBES, {"version": version, "failed": only_failed, "limit": SHOWN})


def probe_counts(con: Connection, version: str) -> dict[str, int]:
    """How many probes were asked, failed and changed in the latest gate."""
    (counts,) = rows(con, _COUNTS, {"version": version})
    return {name: int(number or 0) for name, number in counts.items()}


def taken_out(con: Connection, version: str) -> pa.Table:
    """Edits of the version's job that the gate took out, with the evidence."""
    return table(con, _TAKEN_OUT, {"version": version})


_NAMES = """
SELECT v.version_id AS version, row_number() OVER (ORDER BY v.created_at, v.rowid) AS number,
       d.passed AS gate, v.created_at, v.version_id = c.version AS serves
FROM versions v
     LEFT JOIN (SELECT version_id, arg_max(passed, happened_at) AS passed FROM verdicts GROUP BY 1) d
         USING (version_id)
     LEFT JOIN (SELECT arg_max(version, seq) AS version FROM champions) c ON true
ORDER BY number DESC
"""

_FACTS = """
WITH numbered AS (
    SELECT version_id, row_number() OVER (ORDER BY created_at, rowid) AS number FROM versions)
SELECT v.version_id AS version, n.number, v.parent, p.number AS parent_number,
       len(v.edits_added) AS added, len(v.edits_removed) AS removed,
       (v.info->>'edits')::BIGINT AS edits, (v.info->>'gate_seconds')::DOUBLE AS gate_seconds,
       (v.info->>'regenerated')::BIGINT AS regenerated,
       (v.info->>'parameters')::BIGINT AS parameters, (v.info->>'bytes')::BIGINT AS bytes,
       d.passed AS gate, d.reason, s.served_at,
       v.version_id = (SELECT arg_max(version, seq) FROM champions) AS serves
FROM versions v JOIN numbered n USING (version_id)
     LEFT JOIN numbered p ON p.version_id = v.parent
     LEFT JOIN (SELECT version_id, arg_max(passed, happened_at) AS passed,
                       arg_max(reason, happened_at) AS reason
                FROM verdicts GROUP BY 1) d USING (version_id)
     LEFT JOIN (SELECT version AS version_id, min(happened_at) AS served_at
                FROM champions GROUP BY 1) s USING (version_id)
WHERE v.version_id = $version
"""

_VERDICT = """
WITH wanted AS (
    SELECT version_id, parent FROM versions WHERE version_id = $version),
latest AS (
    SELECT *, rowid AS place FROM suite_verdicts
    WHERE version_id IN (SELECT version_id FROM wanted UNION ALL SELECT parent FROM wanted)
    QUALIFY happened_at = max(happened_at) OVER (PARTITION BY version_id))
SELECT a.suite, a.metric, a.value, a.threshold, b.value AS before, a.value - b.value AS change,
       a.probes, a.failed, a.passed
FROM latest a LEFT JOIN latest b
     ON b.suite = a.suite AND b.metric = a.metric AND b.version_id = (SELECT parent FROM wanted)
WHERE a.version_id = $version ORDER BY a.passed, a.place
"""

_CHANGES = """
WITH v AS (SELECT * FROM versions WHERE version_id = $version),
changed AS (
    SELECT 'added' AS way, unnest(edits_added) AS edit_id, NULL AS by, NULL AS reason FROM v
    UNION ALL
    SELECT 'out', edit_id, json_extract_string(info, '$.superseded."' || edit_id || '"'),
           json_extract_string(info, '$.asked."' || edit_id || '"')
    FROM (SELECT unnest(edits_removed) AS edit_id, info FROM v))
SELECT CASE WHEN c.way = 'added' THEN 'added' WHEN c.by IS NOT NULL THEN 'replaced'
            WHEN s.state IN ('revoked', 'expired', 'rejected', 'superseded') THEN s.state::VARCHAR
            ELSE 'taken out' END AS way,
       c.edit_id AS edit, e.prompt, e.target, e.source, c.by, r.target AS new_target, c.reason,
       s.state::VARCHAR AS now
FROM changed c LEFT JOIN edits e ON e.edit_id = c.edit_id
     LEFT JOIN edit_states s ON s.edit_id = c.edit_id LEFT JOIN edits r ON r.edit_id = c.by
ORDER BY c.way, e.seq LIMIT $limit
"""

_LATEST = """
SELECT * FROM probe_results WHERE version_id = $version
QUALIFY happened_at = max(happened_at) OVER ()
"""

_PROBES = f"""
WITH latest AS ({_LATEST}),
chosen AS (
    SELECT * FROM latest
    WHERE NOT passed OR (NOT $failed AND answer_before IS DISTINCT FROM answer_after)
    ORDER BY passed, answer_before IS DISTINCT FROM answer_after DESC, edit_id IS NULL, suite, probe_id
    LIMIT $limit)
SELECT p.suite, p.prompt, p.expected, p.answer_before AS before, p.answer_after AS after, p.passed,
       p.edit_id AS edit, e.prompt AS edit_prompt, e.target AS edit_target,
       CASE WHEN isnan(p.distance) THEN NULL ELSE p.distance END AS distance
FROM chosen p LEFT JOIN edits e USING (edit_id)
ORDER BY p.passed, p.answer_before IS DISTINCT FROM p.answer_after DESC, p.edit_id IS NULL,
    p.suite, p.probe_id
"""

_COUNTS = f"""
WITH latest AS ({_LATEST})
SELECT count(*) AS asked, count(*) FILTER (WHERE NOT passed) AS failed,
       count(*) FILTER (WHERE answer_before IS DISTINCT FROM answer_after) AS changed
FROM latest
"""

_TAKEN_OUT = """
SELECT t.edit_id AS edit, e.prompt, e.target, e.source, t.reason, t.happened_at
FROM transitions t JOIN edits e USING (edit_id)
WHERE t.to_state = 'rejected' AND t.job_id = (SELECT job_id FROM versions WHERE version_id = $version)
ORDER BY e.seq LIMIT 500
"""
