"""Cost: seconds and memory by stage, edits a second, size by version."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ledger.insight.readcopy import rows, table
from ledger.store import Connection


def stages(con: Connection, last: int | None = None) -> pa.Table:
    """Seconds and peak memory of each stage of each of the latest versions.

    version, number, stage, seconds, memory_bytes, gpu_bytes, device. A stage that ran more than once
    for a version counts with the sum of its seconds and its highest memory.
    """
    return table(con, _STAGES, {"last": last})


def sizes(con: Connection, last: int | None = None) -> pa.Table:
    """version, number, edits, parameters, bytes, new_bytes, cached, regenerated, gate_seconds, rate.

    rate: edits that went into training by the seconds of training; NULL where not measured.
    """
    return table(con, _SIZES, {"last": last})


def totals(con: Connection) -> dict[str, Any]:
    """versions, jobs, seconds, rate over all that was measured, and the highest memory."""
    return rows(con, _TOTALS)[0]


_CHOSEN = """
numbered AS (
    SELECT *, row_number() OVER (ORDER BY created_at, rowid) AS number FROM versions),
chosen AS (
    SELECT * FROM numbered QUALIFY $last IS NULL OR row_number() OVER (ORDER BY number DESC) <= $last)
"""

_STAGES = f"""
WITH {_CHOSEN}
SELECT * FROM (
SELECT c.version_id AS version, c.number, s.stage, sum(s.seconds) AS seconds,
       max(s.memory_bytes) AS memory_bytes, max(s.gpu_bytes) AS gpu_bytes,
       max(s.device) AS device
FROM chosen c JOIN stage_costs s ON s.job_id = c.job_id OR (s.job_id IS NULL
    AND s.version_id = c.version_id)
GROUP BY ALL)
ORDER BY number, list_position(['train', 'gate', 'register', 'promote'], stage)
"""

_SIZES = f"""
WITH {_CHOSEN},
training AS (
    SELECT job_id, sum(seconds) AS seconds, max(edits) AS edits FROM stage_costs
    WHERE stage = 'train' GROUP BY job_id)
SELECT c.version_id AS version, c.number, (c.info->>'edits')::BIGINT AS edits,
       (c.info->>'parameters')::BIGINT AS parameters, (c.info->>'bytes')::BIGINT AS bytes,
       (c.info->>'new_bytes')::BIGINT AS new_bytes, (c.info->>'cached')::BIGINT AS cached,
       (c.info->>'regenerated')::BIGINT AS regenerated,
       (c.info->>'gate_seconds')::DOUBLE AS gate_seconds,
       t.edits / nullif(t.seconds, 0) AS rate
FROM chosen c LEFT JOIN training t USING (job_id) ORDER BY c.number
"""

_TOTALS = """
SELECT (SELECT count(*) FROM versions) AS versions, count(DISTINCT job_id) AS jobs,
       sum(seconds) AS seconds,
       sum(edits) FILTER (WHERE stage = 'train')
           / nullif(sum(seconds) FILTER (WHERE stage = 'train'), 0) AS rate,
       max(memory_bytes) AS memory_bytes, max(gpu_bytes) AS gpu_bytes
FROM stage_costs
"""
