"""Edit: find one, and see its whole life and how far it reaches."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ledger.insight.readcopy import row, rows, table
from ledger.store import Connection

SHOWN = 100  # edits that a search gives at most


def search(
    con: Connection,
    text: str,
    *,
    state: str | None = None,
    source: str | None = None,
) -> pa.Table:
    """Edits in whose prompt, answer, subject or id the text stands; exact ones first, then the latest.

    edit, prompt, target, state, source, received_at.
    """
    return table(con, _SEARCH, {"text": text, "state": state, "source": source, "limit": SHOWN})


def facts(con: Connection, edit: str) -> dict[str, Any] | None:
    """One edit with its state and how often it was reported; None where it is not known."""
    return row(con, _FACTS, {"edit": edit})


def timeline(con: Connection, edit: str) -> pa.Table:
    """All that happened to it, in order: happened_at, what, kind, detail, actor, version, other."""
    return table(con, _TIMELINE, {"edit": edit})


def distances(con: Connection, edit: str) -> pa.Table:
    """Its probes in the latest gate that asked any: kind, prompt, distance, caught_by, passed, suite.

    kind: "own prompt", "rephrase", "other relation", "other subject", or the suite's name for a probe
    of another edit that this one answered. distance: to the nearest key that was looked at; NULL
    where no key came into question.
    """
    return table(con, _DISTANCES, {"edit": edit})


def sources(con: Connection) -> list[str]:
    """Names of all sources that have reported."""
    return [r["source"] for r in rows(con, "SELECT source FROM sources ORDER BY source")]


def texts(con: Connection, edits: list[str]) -> pa.Table:
    """edit, prompt, target, state of the given edits."""
    return table(con, _TEXTS, {"edits": edits})


_SEARCH = """
SELECT e.edit_id AS edit, e.prompt, e.target, s.state::VARCHAR AS state, e.source, e.received_at
FROM edits e JOIN edit_states s USING (edit_id)
WHERE ($text = '' OR contains(lower(e.prompt), lower($text)) OR contains(lower(coalesce(e.target,
    '')), lower($text))
       OR contains(lower(coalesce(e.subject, '')), lower($text)) OR starts_with(e.edit_id,
           lower($text)))
  AND ($state IS NULL OR s.state::VARCHAR = $state) AND ($source IS NULL OR e.source = $source)
ORDER BY (e.edit_id = $text OR lower(e.prompt) = lower($text)) DESC, e.seq DESC LIMIT $limit
"""

_FACTS = """
SELECT e.edit_id AS edit, e.kind, e.prompt, e.target, e.subject, e.source, e.received_at,
       s.state::VARCHAR AS state, s.since, s.hold, s.trust, s.version,
       (SELECT count(*) FROM reports r WHERE r.edit_id = e.edit_id) AS reported,
       (SELECT count(DISTINCT source) FROM reports r WHERE r.edit_id = e.edit_id) AS reporters
FROM edits e JOIN edit_states s USING (edit_id)
WHERE e.edit_id = $edit OR (length($edit) >= 8 AND starts_with(e.edit_id, $edit))
ORDER BY e.edit_id = $edit DESC LIMIT 1
"""

_TIMELINE = """
SELECT happened_at, what, kind, detail, actor, version, other FROM (
    SELECT r.received_at AS happened_at, 0 AS place, 'reported' AS what, 'report' AS kind,
           coalesce(f.name, '') || ', line ' || r.line AS detail, coalesce(r.source, '') AS actor,
           NULL AS version, NULL AS other
    FROM reports r LEFT JOIN files f USING (file_id) WHERE r.edit_id = $edit
    UNION ALL
    SELECT happened_at, 1 + t.rowid::DOUBLE / 1e12, to_state::VARCHAR, 'state', reason, actor,
        version, NULL
    FROM transitions t WHERE edit_id = $edit
    UNION ALL
    SELECT decided_at, 1.5, CASE WHEN winner IS NULL THEN 'contradicts' WHEN winner = $edit
        THEN 'won against'
               ELSE 'lost against' END, 'contest', 'rule: ' || rule, 'ledger', NULL,
           CASE WHEN loser = $edit THEN winner ELSE loser END
    FROM contests WHERE loser = $edit OR winner = $edit
    UNION ALL
    SELECT requested_at, 1.6, 'to be taken out', 'retirement', reason, actor, NULL, NULL
    FROM retirements WHERE edit_id = $edit)
ORDER BY happened_at, place
"""

_DISTANCES = """
WITH mine AS (
    SELECT * FROM probe_results
    WHERE split_part(probe_id, ':', 2) = $edit OR edit_id = $edit),
latest AS (
    SELECT * FROM mine WHERE (version_id, happened_at) = (
        SELECT (version_id, happened_at) FROM mine ORDER BY happened_at DESC LIMIT 1))
SELECT CASE WHEN split_part(probe_id, ':', 2) <> $edit THEN 'asked for something else'
            WHEN starts_with(probe_id, 'own:') OR starts_with(probe_id, 'asked:') THEN 'own prompt'
            WHEN starts_with(probe_id, 'rephrase:') OR starts_with(probe_id, 'agrees:') THEN 'rephrase'
            WHEN suite = 'near-miss-relation' THEN 'other relation'
            WHEN starts_with(probe_id, 'retired:') THEN 'own prompt, retired'
            ELSE 'other subject' END AS kind,
       prompt, min(CASE WHEN isnan(distance) THEN NULL ELSE distance END) AS distance,
       max(edit_id) AS caught_by, bool_and(passed) AS passed,
       string_agg(DISTINCT suite, ', ' ORDER BY suite) AS suite, any_value(version_id) AS version
FROM latest GROUP BY ALL ORDER BY kind, distance
"""

_TEXTS = """
SELECT e.edit_id AS edit, e.prompt, e.target, s.state::VARCHAR AS state
FROM (SELECT unnest($edits::VARCHAR[]) AS edit_id) w JOIN edits e USING (edit_id)
     JOIN edit_states s USING (edit_id)
"""
