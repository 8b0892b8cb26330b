"""A file's records as reports; its shape is recognised by its first row, or chosen by the caller.

file ── formats.read ──► rows ── the shape that knows them ──► reports
                          └── none does: they are reports as they stand
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from config import IngestSettings
from ledger.staging import DEFAULT_PATHS
from tasks.ingest import formats
from tasks.ingest.columns import Columns
from tasks.ingest.lines import Chunk, ahead
from tasks.ingest.shapes import Shape, recognised, shapes
from tasks.ingest.shapes.adapt import adapted, rows_in
from text import strict_json

ADAPTED_AT_ONCE = 32_768  # rows; small, so that adapting and taking in go on side by side
FIRST_ROWS = 100  # in which a row must come that is a JSON object


@dataclass(frozen=True)
class Reader:
    """Reads files as the settings say. columns: those of a table that is read as it stands."""

    settings: IngestSettings
    columns: Columns

    def reports(
        self,
        path: Path,
        shape: Shape | None,
        about: Mapping[str, str],
        *,
        first_line: int,
        offset: int,
    ) -> Iterator[Chunk]:
        """A file's reports after the first `first_line` records. about: rows that others name."""
        if shape is None:
            return self._chunks(path, shape, first_line=first_line, offset=offset)
        at_once = min(self.settings.chunk_lines, ADAPTED_AT_ONCE)
        chunks = self._chunks(
            path, shape, first_line=first_line, offset=offset, chunk_lines=at_once
        )
        return ahead(adapted(chunks, shape, about))  # the next ones while the ledger takes these

    def shape_of(self, path: Path) -> Shape | None:
        """The shape that the first row of a file has; None: its rows are reports, or unreadable."""
        all_columns = Columns(
            (*DEFAULT_PATHS, *(c for s in shapes() for c in s.columns)), frozenset()
        )
        with contextlib.suppress(OSError):  # whoever reads the file will meet it again
            chunks = self._chunks(path, None, columns=all_columns, chunk_lines=FIRST_ROWS)
            with contextlib.closing(chunks):
                table = next(chunks).table.slice(0, FIRST_ROWS)
            rows = [row for _, row in rows_in(iter([Chunk(table, 0, True)]))]
            shape = recognised(rows[0]) if rows else None
            if shape is None and rows and formats.kind_of(path) in ("csv", "xlsx"):
                # Empty cells are left out of a row: what the header has is told by several.
                shape = recognised(dict(item for row in reversed(rows) for item in row.items()))
            return shape
        return None

    def about(self, files: Iterable[tuple[Path, Shape | None]]) -> dict[str, str]:
        """The texts of the rows that rows of these files name, by id; only those are kept in memory."""
        joined = [(path, shape, shape.join) for path, shape in files if shape and shape.join]
        wanted: set[str] = set()
        with_ids = []  # files some rows of which can be named
        for path, shape, join in joined:
            can_be_named = False
            for _, row in rows_in(self._chunks(path, shape), strict_json.parse_leniently):
                wanted.update(join.named(row))
                can_be_named = can_be_named or join.id_of(row) is not None
            if can_be_named:
                with_ids.append((path, shape, join))
        texts: dict[str, str] = {}
        instead: dict[str, str] = {}
        for path, shape, join in with_ids if wanted else ():
            for text, row in rows_in(self._chunks(path, shape)):
                if (name := join.id_of(row)) in wanted and name is not None:
                    texts[name] = text
                whole = join.stands_for(row) if join.stands_for is not None else None
                if whole is not None and whole in wanted:
                    instead.setdefault(whole, text)
        return {**instead, **texts}

    def _chunks(
        self,
        path: Path,
        shape: Shape | None,
        *,
        columns: Columns | None = None,
        first_line: int = 0,
        offset: int = 0,
        chunk_lines: int | None = None,
    ) -> Generator[Chunk, None, None]:
        settings = self.settings
        if chunk_lines is not None:
            settings = settings.model_copy(update={"chunk_lines": chunk_lines})
        if shape is not None:
            columns = Columns(shape.columns, frozenset(), keeps_empty=shape.flat)
        return formats.read(
            path,
            settings,
            columns or self.columns,
            first_line=first_line,
            offset=offset,
            page=shape.page if shape else None,
        )
