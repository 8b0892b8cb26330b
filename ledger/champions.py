"""Champions: the version that serves, and those that served before it."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.errors import ChampionMoved
from ledger.store import Store
from ledger.types import Champion
from ledger.versions import require_version


class Champions:
    """Who serves and who has served."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(
        self,
        version_id: str,
        *,
        expected: str | None,
        actor: str,
        reason: str,
    ) -> None:
        """Make a version the champion if `expected` (None: none yet) still is.

        Raises ChampionMoved, UnknownId.
        """
        with self._store.write() as con:
            require_version(con, version_id)
            current = self.current()
            serving = current.version if current else None
            if serving != expected:
                raise ChampionMoved(
                    f"the champion is {serving or 'not set'}, not {expected or 'unset'}. "
                    "Look at it and try again."
                )
            con.execute(
                "INSERT INTO champions SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ? "
                "FROM champions",
                [version_id, datetime.now(UTC), actor, reason, serving],
            )

    def current(self) -> Champion | None:
        """The version that serves; None before the first promotion."""
        history = self.history(limit=1)
        return history[0] if history else None

    def history(self, *, limit: int | None = 100) -> list[Champion]:
        """Champions, the present one first."""
        rows = self._store.rows(
            "SELECT version, happened_at, actor, reason, previous FROM champions "
            "ORDER BY seq DESC LIMIT ?",
            [limit],
        )
        return [Champion(*row) for row in rows]
