"""What becomes of input lines: one transaction a chunk, so a dying process repeats nothing.

    lines ──stage──► problem? ──► quarantined                      (reports.outcome)
                     known?   ──► duplicate: counts, may revive
                     new      ──► accepted: edit `received` ──admit──► held or conflict ──► ready

The input file's record moves in the same transaction as the rows, by compare-and-set.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from ledger import admission
from ledger.errors import FileMoved
from ledger.staging import stage
from ledger.statements import statement
from ledger.store import Connection, Store, first
from ledger.types import NOTHING_TO_CORRECT, ChunkResult, FileRecord, IntakeRules

LINE_SCHEMA = pa.schema(
    [("line", pa.int64()), ("raw", pa.large_string()), ("unreadable", pa.string())]
)
_RECORD = (
    "file_id, name, content_hash, source, lines, byte_offset, done"  # as `FileRecord` takes it
)
LOOKED_AT = 100  # lines without an answer whose names are told


class Intake:
    """Where lines are taken in."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin_file(
        self, name: str, content_hash: str, *, source: str | None = None, again: bool = False
    ) -> FileRecord:
        """Open the record of an input, or find how far it has been read before.

        The same content is one input whatever its file is called; `again` begins a new record.
        """
        with self._store.write() as con:
            row = None
            if not again:
                row = first(
                    con.execute(
                        f"SELECT {_RECORD} FROM files WHERE content_hash = ? "
                        "AND source IS NOT DISTINCT FROM ? ORDER BY file_id DESC LIMIT 1",
                        [content_hash, source],
                    )
                )
            if row is None:
                row = first(
                    con.execute(
                        "INSERT INTO files (name, content_hash, source, started_at) "
                        f"VALUES (?, ?, ?, ?) RETURNING {_RECORD}",
                        [name, content_hash, source, datetime.now(UTC)],
                    )
                )
            return FileRecord(*row)

    def taken_ids(self, record: FileRecord) -> set[str]:
        """The ids that the lines of an input begin with, of an input whose lines all do."""
        rows = self._store.rows(
            r"""SELECT regexp_extract(left(raw, 400), '^\{"id": ?"([^"]*)"', 1) FROM reports
                WHERE file_id = ?""",
            [record.id],
        )
        return {row[0] for row in rows}

    def commit_chunk(
        self,
        record: FileRecord,
        lines: pa.Table,
        *,
        next_offset: int,
        done: bool,
        rules: IntakeRules,
        now: datetime | None = None,
    ) -> tuple[FileRecord, ChunkResult]:
        """Take the next lines of an input, all or none, and move its record on.

        lines: columns of LINE_SCHEMA, numbered on from `record.lines`.
        Raises FileMoved where another process has taken them meanwhile.
        """
        at = now or datetime.now(UTC)
        finished_at = at if done else None
        with self._store.write() as con:
            moved = first(
                con.execute(
                    "UPDATE files SET lines = lines + ?, byte_offset = ?, done = ?, finished_at = ? "
                    f"WHERE file_id = ? AND lines = ? AND NOT done RETURNING {_RECORD}",
                    [lines.num_rows, next_offset, done, finished_at, record.id, record.lines],
                )
            )
            if moved is None:
                raise FileMoved(f"{record.name} is being read by another process.")
            if lines.num_rows == 0:
                if done:
                    _settle_before(con, record)
                return FileRecord(*moved), ChunkResult(0, 0, 0, 0)
            stage(con, lines, rules, fallback_source=record.name, forced_source=record.source)
            result = take_staged(con, record.id, at, rules)
            if done:
                _settle_before(con, record)
            return FileRecord(*moved), result


def line_table(rows: list[tuple[int, str]]) -> pa.Table:
    """Numbered lines as `staging.stage` takes them."""
    numbers, texts = zip(*rows, strict=True)
    return pa.table([numbers, texts, [None] * len(rows)], schema=LINE_SCHEMA)


def take_staged(con: Connection, file_id: int, at: datetime, rules: IntakeRules) -> ChunkResult:
    """Take what `staging.stage` has put up: record each line, judge each edit."""
    statement("outcomes").run(con)
    admission.record_sources(con, rules, at)
    anew = admission.note_duplicates(con, at)
    statement("insert_reports").run(con, file=file_id, at=at)
    statement("insert_edits").run(con, file=file_id, at=at)
    statement("insert_questions").run(con, subject_alone=rules.same_subject == "always")
    admission.receive(con, at)
    statement("voices").run(con, anew=anew)
    conflicts = admission.admit(con, rules, at, reported="staged")
    ((lines, accepted, duplicates, quarantined, problem, passed_over, unanswered),) = statement(
        "chunk_result"
    ).rows(con, nothing=NOTHING_TO_CORRECT)
    names = _names_without_answer(con) if unanswered else ()
    con.execute("DROP TABLE staged; DROP TABLE again")
    return ChunkResult(
        lines, accepted, duplicates, quarantined, problem, conflicts, passed_over, unanswered, names
    )


def _settle_before(con: Connection, record: FileRecord) -> None:
    """Lines of the same content that an earlier reading quarantined, and that this one could take, say
    what they say here: they leave the quarantine as duplicates.

    A table whose header was not known then has it as its first line, so its lines are one further on.
    """
    earlier = con.execute(
        """SELECT e.file_id, e.lines - f.lines FROM files e, files f
           WHERE f.file_id = $1 AND e.content_hash = f.content_hash AND e.file_id < f.file_id
             AND e.done AND e.lines - f.lines IN (0, 1)""",
        [record.id],
    ).fetchall()
    for file_id, header in earlier:
        con.execute(
            """UPDATE reports SET outcome = 'duplicate', edit_id = n.edit_id, reason = NULL
               FROM reports n
               WHERE n.file_id = $1 AND n.outcome <> 'quarantined' AND reports.file_id = $2
                 AND reports.outcome = 'quarantined' AND n.line = greatest(reports.line - $3, 1)""",
            [record.id, file_id, header],
        )


def _names_without_answer(con: Connection) -> tuple[str, ...]:
    """The names at the top of the first lines without an answer, of a row that a shape read its own."""
    rows = con.execute(
        "SELECT json_keys(coalesce(nullif(json_extract(raw, '$.raw'), 'null'), raw)) FROM ("
        "SELECT ltrim(raw, '\ufeff') AS raw FROM staged WHERE problem IS NULL AND target IS NULL "
        f"AND json_valid(ltrim(raw, '\ufeff')) ORDER BY line LIMIT {LOOKED_AT})"
    ).fetchall()
    return tuple(dict.fromkeys(name for (names,) in rows for name in names or ()))
