"""Events: what an operator should see."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.store import Store
from ledger.types import Event


class Events:
    """What has happened beside the life of edits and versions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        kind: str,
        message: str,
        *,
        severity: str = "info",
        version: str | None = None,
    ) -> None:
        """Keep something that an operator should see."""
        with self._store.write() as con:
            con.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, NULL)",
                [datetime.now(UTC), kind, severity, message, version],
            )

    def latest(self, *, limit: int = 100, kind: str | None = None) -> list[Event]:
        """The latest events, newest first."""
        rows = self._store.rows(
            "SELECT happened_at, kind, severity, message, version FROM events "
            "WHERE ? IS NULL OR kind = ? ORDER BY rowid DESC LIMIT ?",
            [kind, kind, limit],
        )
        return [Event(*row) for row in rows]
