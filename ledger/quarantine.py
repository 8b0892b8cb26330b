"""Lines that can't be used: kept with the reason, and judged again when somebody asks for it."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.intake import line_table, take_staged
from ledger.staging import stage
from ledger.store import Connection, Store, first
from ledger.types import NOTHING_TO_CORRECT, IntakeRules, Quarantined


class Quarantine:
    """Quarantined lines."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, *, limit: int | None = None) -> list[Quarantined]:
        """Lines that can't be used, oldest first."""
        rows = self._store.rows(
            "SELECT f.name, r.line, r.reason, r.raw, r.source, r.received_at FROM reports r "
            "JOIN files f USING (file_id) WHERE r.outcome = 'quarantined' "
            "ORDER BY r.file_id, r.line LIMIT ?",
            [limit],
        )
        return [Quarantined(*row) for row in rows]

    def retry(self, rules: IntakeRules) -> int:
        """Judge quarantined lines again; those that can be used now take the usual way.

        A line keeps its file and number. Returns how many left the quarantine.
        """
        at = datetime.now(UTC)
        with self._store.write() as con:
            left = 0
            files = con.execute(
                "SELECT r.file_id, f.name, f.source FROM reports r JOIN files f USING (file_id) "
                "WHERE r.outcome = 'quarantined' GROUP BY ALL ORDER BY 1"
            ).fetchall()
            for file_id, name, source in files:
                rows = con.execute(
                    "SELECT line, raw FROM reports "
                    "WHERE file_id = ? AND outcome = 'quarantined' "
                    "AND NOT starts_with(reason, 'the file breaks off') "
                    "AND NOT starts_with(reason, 'the line has more than') "
                    "AND NOT starts_with(reason, ?) ORDER BY line",
                    [file_id, NOTHING_TO_CORRECT],
                ).fetchall()
                if not rows:
                    continue
                lines = line_table(rows)
                stage(con, lines, rules, fallback_source=name, forced_source=source)
                con.execute("DELETE FROM staged WHERE problem IS NOT NULL")
                left += int(first(con.execute("SELECT count(*) FROM staged"))[0])
                con.execute(
                    "DELETE FROM reports WHERE file_id = ? AND outcome = 'quarantined' "
                    "AND line IN (SELECT line FROM staged)",
                    [file_id],
                )
                take_staged(con, file_id, at, rules)
                left += _release_header(con, file_id)
            return left


def _release_header(con: Connection, file_id: int) -> int:
    """Let the header of a table go with the row below it, once that could be read by its names."""
    released = con.execute(
        r"""UPDATE reports SET outcome = 'duplicate', edit_id = below.edit_id, reason = NULL
            FROM reports below
            WHERE reports.file_id = $1 AND below.file_id = $1 AND reports.outcome = 'quarantined'
              AND below.outcome <> 'quarantined' AND below.line = reports.line + 1
              AND starts_with(reports.raw, '[') AND starts_with(below.raw, '{')
              AND list_has_all(try_cast(reports.raw AS JSON)::VARCHAR[], json_keys(below.raw))
            RETURNING reports.line""",
        [file_id],
    ).fetchall()
    return len(released)
