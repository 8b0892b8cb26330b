"""What becomes of input lines: one transaction a chunk, so a dying process repeats nothing.

    lines ──stage──► problem? ──► quarantined                      (reports.outcome)
                     known?   ──► duplicate: counts, may revive
                     new      ──► accepted: edit `received` ──admit──► held or contest ──► ready

The input file's record moves in the same transaction as the rows, by compare-and-set.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from ledger import admission
from ledger.errors import FileMoved
from ledger.staging import stage
from ledger.store import Connection, Store, first
from ledger.types import (
    NOTHING_TO_CORRECT,
    ChunkResult,
    FileRecord,
    IntakeRules,
    Mapping,
    RelationTemplates,
)

LINE_SCHEMA = pa.schema([("line", pa.int64()), ("raw", pa.string()), ("unreadable", pa.string())])


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
            found = None
            if not again:
                found = first(
                    con.execute(
                        "SELECT file_id, name, content_hash, source, lines, byte_offset, done "
                        "FROM files WHERE content_hash = ? AND source IS NOT DISTINCT FROM ? "
                        "ORDER BY file_id DESC LIMIT 1",
                        [content_hash, source],
                    )
                )
            if found is None:
                found = first(
                    con.execute(
                        "INSERT INTO files (name, content_hash, source, started_at) "
                        "VALUES (?, ?, ?, ?) RETURNING file_id, name, content_hash, source, lines, "
                        "byte_offset, done",
                        [name, content_hash, source, datetime.now(UTC)],
                    )
                )
            assert found is not None
            return FileRecord(*found)

    def taken_ids(self, record: FileRecord) -> set[str]:
        """The ids that the lines of an input begin with, of an input whose lines all do."""
        with self._store.read() as con:
            rows = con.execute(
                r"""SELECT regexp_extract(left(raw, 400), '^\{"id": ?"([^"]*)"', 1) FROM reports
                WHERE file_id = ?""",
                [record.id],
            ).fetchall()
        return {row[0] for row in rows}

    def commit_chunk(
        self,
        record: FileRecord,
        lines: pa.Table,
        *,
        next_offset: int,
        done: bool,
        rules: IntakeRules,
        mapping: Mapping | None = None,
        templates: tuple[RelationTemplates, ...] = (),
        now: datetime | None = None,
    ) -> tuple[FileRecord, ChunkResult]:
        """Take the next lines of an input, all or none, and move its record on.

        lines: columns of LINE_SCHEMA, numbered on from `record.lines`.
        Raises FileMoved where another process has taken them meanwhile.
        """
        at = now or datetime.now(UTC)
        with self._store.write() as con:
            moved = first(con.execute(
                "UPDATE files SET lines = lines + ?, byte_offset = ?, done = ?, finished_at = ? "
                "WHERE file_id = ? AND lines = ? AND NOT done "
                "RETURNING file_id, name, content_hash, source, lines, byte_offset, done",
                [
                    lines.num_rows, next_offset, done, at if done else None,
                    record.id, record.lines,
                ],
            ))  # fmt: skip
            if moved is None:
                raise FileMoved(f"{record.name} is being read by another process.")
            if lines.num_rows == 0:
                return FileRecord(*moved), ChunkResult(0, 0, 0, 0)
            stage(
                con,
                lines,
                mapping=mapping or Mapping(),
                templates=templates,
                fallback_source=record.name,
                forced_source=record.source,
                limits=rules.limits,
            )
            _number_lines_and_sort_out_copies(con)
            result = _record(con, record.id, at, rules)
            return FileRecord(*moved), result


def line_table(rows: list[tuple[int, str]]) -> pa.Table:
    """Numbered lines as `staging.stage` takes them."""
    return pa.table(
        {
            "line": pa.array([line for line, _ in rows], pa.int64()),
            "raw": pa.array([raw for _, raw in rows], pa.large_string()),
            "unreadable": pa.nulls(len(rows), pa.string()),
        }
    )


def take_staged(con: Connection, file_id: int, at: datetime, rules: IntakeRules) -> ChunkResult:
    """Take what `staging.stage` has put up, for an input that has no file."""
    _number_lines_and_sort_out_copies(con)
    return _record(con, file_id, at, rules)


def _number_lines_and_sort_out_copies(con: Connection) -> None:
    """Say for each staged line whether its edit is new; of equal lines the first is."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE known AS
        SELECT edit_id FROM edits WHERE edit_id IN (SELECT edit_id FROM staged)"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE fresh AS
        SELECT s.edit_id, min(s.line) AS line FROM staged s ANTI JOIN known USING (edit_id)
        WHERE s.problem IS NULL GROUP BY s.edit_id"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW judged AS
        SELECT s.*, CASE WHEN s.problem IS NOT NULL THEN 'quarantined'
                         WHEN s.line IN (SELECT line FROM fresh) THEN 'accepted'
                         ELSE 'duplicate' END AS outcome
        FROM staged s"""
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW accepted AS
        SELECT * FROM staged WHERE line IN (SELECT line FROM fresh)"""
    )


def _record(con: Connection, file_id: int, at: datetime, rules: IntakeRules) -> ChunkResult:
    admission.know_sources(con, rules, at)
    revived = admission.note_duplicates(con, at)
    con.execute(
        """INSERT INTO reports
        SELECT ?, line, outcome::line_outcome, CASE WHEN problem IS NULL THEN edit_id END, source,
               raw, problem, ? FROM judged""",
        [file_id, at],
    )
    con.execute(
        """INSERT INTO edits
        SELECT edit_id, ?::BIGINT * 4294967296 + line, kind, prompt, target, subject, relation,
               old_answer, coalesce(aliases, []), coalesce(rephrases, []), coalesce(locality, []),
               source, id, coalesce(supersedes, []), ?, messages
        FROM accepted""",
        [file_id, at],
    )
    con.execute(
        """INSERT INTO questions
        WITH reworded AS MATERIALIZED (
            SELECT edit_id, question, normalize_question(unnest(rephrases)) AS q FROM accepted
            WHERE len(rephrases) > 0)
        SELECT md5_number(question), edit_id FROM accepted
        UNION ALL
        SELECT md5_number(q), edit_id FROM reworded WHERE q <> question
        UNION ALL
        SELECT md5_number(chr(29) || normalize_question(subject) || chr(31)
                          || normalize_question(relation)), edit_id
        FROM accepted WHERE subject IS NOT NULL AND relation IS NOT NULL
        UNION ALL
        SELECT md5_number(chr(30) || normalize_question(subject)), edit_id
        FROM accepted WHERE subject IS NOT NULL AND ?""",
        [rules.same_subject == "always"],
    )
    admission.receive(con, at)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE voices AS
        SELECT edit_id, source FROM staged WHERE edit_id IN (SELECT edit_id FROM fresh)
        UNION ALL
        SELECT edit_id, unnest(voices) FROM again WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))""",
        [revived],
    )
    contradictions = admission.admit(con, rules, at, said="staged")
    counted = first(
        con.execute(
            """SELECT count(*), count(*) FILTER (WHERE outcome = 'accepted'),
                  count(*) FILTER (WHERE outcome = 'duplicate'),
                  count(*) FILTER (WHERE outcome = 'quarantined'),
                  min_by('line ' || line || ': ' || problem, line)
                      FILTER (WHERE outcome = 'quarantined' AND NOT starts_with(problem, $nothing)),
                  count(*) FILTER (WHERE outcome = 'quarantined' AND starts_with(problem, $nothing))
            FROM judged""",
            {"nothing": NOTHING_TO_CORRECT},
        )
    )
    assert counted is not None
    con.execute("DROP VIEW judged; DROP VIEW accepted")
    con.execute("DROP TABLE staged; DROP TABLE fresh; DROP TABLE known; DROP TABLE again")
    lines, accepted, duplicates, quarantined, problem, passed_over = counted
    return ChunkResult(
        lines, accepted, duplicates, quarantined, problem, contradictions, passed_over
    )
