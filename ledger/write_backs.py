"""What is told to the tools that reports came from, once an edit serves: each place once.

    edits that serve ──note──► waiting ──begin──► begun ──end──► done, refused, failed, unknown
                                  ▲                                            │
                                  └──────────────── tried again ◄──────────────┘ failed

The intent is on record before anything is sent, and the outcome after. A process that dies in between
leaves `begun`, which is tried again where the tool recognises what it has been told before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ledger.store import Store, first, registered, texts

WEBHOOK = "webhook"  # is told of each edit once, not of each report
PLACES = texts("key", "tool", "edit_id", "trace", "span")
# A transaction may bear a time from before its lock was free: places are looked for that far back again.
OVERLAP = timedelta(hours=1)
WEBHOOK_FIRST = timedelta(
    days=1
)  # what served before that is no news to a webhook that was just set


@dataclass(frozen=True)
class WriteBack:
    """One place to tell that an edit serves. trace, span: as the tool names them, if it does."""

    key: str
    tool: str
    edit: str
    trace: str | None
    span: str | None
    state: str
    attempts: int
    noted_at: datetime
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class WriteBacks:
    """What other tools are told."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, tools: Sequence[str]) -> None:
        """Note the places of edits that serve by now and were not noted.

        A place is a trace that a report of the edit came from, or a report without the answer that the
        edit answered.
        """
        at = datetime.now(UTC)
        with self._store.write() as con:
            for tool in tools:
                mark = first(
                    con.execute("SELECT looked_at FROM write_back_marks WHERE tool = ?", [tool])
                )
                first_look = (
                    at - WEBHOOK_FIRST if tool == WEBHOOK else datetime.min.replace(tzinfo=UTC)
                )
                parameters = {"tool": tool, "since": mark[0] - OVERLAP if mark else first_look}
                rows = con.execute(_WEBHOOKS if tool == WEBHOOK else _PLACES, parameters).fetchall()
                places = [(_key(tool, *row), tool, *row) for row in rows]
                with registered(con, "places", PLACES, places):
                    con.execute(
                        "INSERT INTO write_backs SELECT key, tool, edit_id, trace, span, 'waiting', "
                        "0, ?, NULL, NULL, NULL FROM places ON CONFLICT DO NOTHING",
                        [at],
                    )
                con.execute(
                    "INSERT INTO write_back_marks VALUES (?, ?) "
                    "ON CONFLICT DO UPDATE SET looked_at = excluded.looked_at",
                    [tool, at],
                )

    def find(
        self,
        *,
        tools: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[WriteBack]:
        """What was told, or is to be, the oldest first."""
        rows = self._store.rows(
            "SELECT key, tool, edit_id, trace, span, state, attempts, noted_at, begun_at, ended_at, "
            "error FROM write_backs "
            "WHERE ($tools IS NULL OR tool IN (SELECT unnest($tools::VARCHAR[]))) "
            "AND ($states IS NULL OR state IN (SELECT unnest($states::VARCHAR[]))) "
            "ORDER BY noted_at, key LIMIT $limit",
            {"tools": tools and list(tools), "states": states and list(states), "limit": limit},
        )
        return [WriteBack(*row) for row in rows]

    def begin(self, key: str) -> bool:
        """Put the intent on record; False where its edit serves no more or the place was told."""
        with self._store.write() as con:
            begun = con.execute(
                "UPDATE write_backs SET state = 'begun', attempts = attempts + 1, begun_at = ?, "
                "error = NULL "
                "WHERE key = ? AND state IN ('waiting', 'begun', 'failed') AND edit_id IN "
                "(SELECT edit_id FROM edit_states WHERE state = 'active') RETURNING key",
                [datetime.now(UTC), key],
            ).fetchall()
        return bool(begun)

    def end(self, key: str, state: str, error: str | None = None) -> None:
        """Put the outcome on record: done, refused, failed or unknown."""
        with self._store.write() as con:
            con.execute(
                "UPDATE write_backs SET state = ?, error = ?, ended_at = ? WHERE key = ?",
                [state, error, datetime.now(UTC), key],
            )


def _key(tool: str, edit: str, trace: str | None, span: str | None) -> str:
    place = "\x1f".join((tool, edit, trace or "", span or ""))
    return hashlib.sha256(place.encode()).hexdigest()[:32]


_SERVING = """
serving AS (SELECT edit_id, since FROM edit_states WHERE state = 'active'),
answered AS (
    SELECT t.edit_id, substr(t.reason, length('answered by ') + 1) AS by_edit FROM transitions t
    WHERE t.to_state = 'superseded' AND starts_with(t.reason, 'answered by ')),
reported AS (
    SELECT edit_id AS edit, edit_id AS reported_as FROM serving
    UNION SELECT by_edit, edit_id FROM answered WHERE by_edit IN (SELECT edit_id FROM serving))
"""

_WEBHOOKS = f"""
WITH {_SERVING}
SELECT edit_id, NULL, NULL FROM serving WHERE since > $since AND $tool IS NOT NULL
"""

_PLACES = f"""
WITH {_SERVING},
lines AS (
    SELECT t.edit, CASE WHEN json_valid(r.raw) THEN r.raw END AS raw
    FROM reported t JOIN reports r ON r.edit_id = t.reported_as JOIN serving s ON s.edit_id = t.edit
    WHERE (s.since > $since OR r.received_at > $since) AND contains(r.raw, '"origin"'))
SELECT DISTINCT edit, json_extract_string(raw, '$.origin.trace') AS trace,
       json_extract_string(raw, '$.origin.span')
FROM lines WHERE json_extract_string(raw, '$.origin.tool') = $tool AND trace IS NOT NULL
"""
