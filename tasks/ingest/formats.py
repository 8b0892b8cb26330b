"""Which reader a file needs, and the readers that go record by record.

    .csv .tsv          a row a record, as JSON text (tasks/ingest/csv_rows.py)
    .parquet .arrow    pyarrow, in batches, as JSON text
    .xlsx              a row a record, of every sheet (tasks/ingest/xlsx_rows.py)
    .json              JSON values one after another or in one array (tasks/ingest/json_values.py)
    anything else      a JSON object a line (tasks/ingest/lines.py)

A `.gz` or `.zst` at the end is looked through, and so is an encoding that the bytes tell
(tasks/ingest/opening.py). Every reader can begin after the records that were
taken before, holds one batch at a time, and turns what it can't read into one marked record.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from config import IngestSettings
from ledger.intake import LINE_SCHEMA
from tasks.ingest.columns import Columns
from tasks.ingest.csv_rows import read_csv
from tasks.ingest.foreign import foreign
from tasks.ingest.json_values import read_json
from tasks.ingest.lines import (
    KEPT_OF_LONG_LINE,
    Chunk,
    Record,
    ahead,
    broken,
    read_lines,
    too_long,
)
from tasks.ingest.opening import DAMAGE
from tasks.ingest.typed_values import as_seen, may_change
from tasks.ingest.xlsx_rows import read_xlsx
from text import strict_json

RECORDS_AT_ONCE = 20_000
KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".json": "json",
}


def read(
    path: Path,
    settings: IngestSettings,
    columns: Columns,
    *,
    first_line: int = 0,
    offset: int = 0,
    page: str | None = None,
) -> Generator[Chunk, None, None]:
    """Yield a file's records after the first `first_line`, in chunks.

    `offset` is where the next line begins in a file of lines; other formats count records. columns:
    what a table is read for; page: the name under which a JSON object holds a list of records (an
    answer of an API).
    """
    kind = kind_of(path)
    begins = first_line == 0 and offset == 0
    if begins and kind in ("lines", "csv", "json") and (problem := foreign(path)) is not None:
        yield Chunk(table(0, [("", problem)], settings.max_line_bytes), 0, True)
        return
    if kind == "lines":
        yield from ahead(read_lines(path, settings, first_line=first_line, offset=offset))
        return
    if kind == "csv":
        records = read_csv(path, settings, columns)
    elif kind == "json":
        records = read_json(path, settings)
        records = _of_pages(records, page) if page else records
    elif kind == "xlsx":
        records = read_xlsx(path, settings, columns)
    else:
        records = _arrow(path, kind, columns)
    size = min(settings.chunk_lines, RECORDS_AT_ONCE)
    yield from chunks(records, first_line, size, settings.max_line_bytes)


def kind_of(path: Path) -> str:
    """csv, parquet, arrow, xlsx, json or lines, by the file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst", ".zstd"):
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return KINDS.get(last, "lines")


def chunks(
    records: Iterable[Record], first_line: int, size: int, max_line_bytes: int
) -> Iterator[Chunk]:
    """Number records and cut them into chunks; the last one is marked so, and may be empty."""
    rows: list[Record] = []
    begin = first_line
    for number, record in enumerate(records):
        if number < first_line:
            continue
        rows.append(record)
        if len(rows) >= size:
            yield Chunk(table(begin, rows, max_line_bytes), 0, False)
            begin, rows = begin + len(rows), []
    yield Chunk(table(begin, rows, max_line_bytes), 0, True)


def table(begin: int, records: Sequence[Record], max_line_bytes: int) -> pa.Table:
    """Records as the lines after line `begin`; one that is too long is cut short and marked."""
    checked = [_within(text, problem, max_line_bytes) for text, problem in records]
    numbers = range(begin + 1, begin + 1 + len(checked))
    columns = [numbers, [text for text, _ in checked], [problem for _, problem in checked]]
    return pa.table(columns, schema=LINE_SCHEMA)


def _within(text: str, problem: str | None, max_line_bytes: int) -> Record:
    if len(text) > max_line_bytes or (
        len(text) * 4 > max_line_bytes and len(text.encode("utf-8")) > max_line_bytes
    ):
        return text[:KEPT_OF_LONG_LINE], problem or too_long(max_line_bytes)
    return text, problem


def _of_pages(records: Iterable[Record], page: str) -> Iterator[Record]:
    """The records that objects hold as a list under the name `page`; every other one as it is."""
    for text, problem in records:
        try:
            value = strict_json.parse(text) if problem is None else None
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get(page), list):
            yield from ((to_json(row), None) for row in value[page])
        else:
            yield text, problem


def _arrow(path: Path, kind: str, columns: Columns) -> Iterator[Record]:
    try:
        with _batches(path, kind) as (names, batches):
            header = columns.named(names)
            problem = columns.problem(header)
            for batch in batches:
                cells = [_values(column) for column in batch.columns]
                for row in zip(*cells, strict=True):
                    record = (
                        dict(zip(header, row, strict=True))
                        if problem is None
                        else columns.evidence(header, row)
                    )
                    yield _safe(to_json(record)), problem
    except (*DAMAGE, ValueError, OverflowError) as error:
        yield "", broken(error)


def _values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [as_seen(value) for value in values] if may_change(column.type) else values


@contextlib.contextmanager
def _batches(path: Path, kind: str) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    """The names and the batches of a Parquet file, or of an Arrow stream or file."""
    if kind == "parquet":
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow.names, file.iter_batches(batch_size=RECORDS_AT_ONCE)
        return
    with pa.memory_map(str(path)) as source:
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            stored = pa.ipc.open_file(source)
            batches = (stored.get_batch(number) for number in range(stored.num_record_batches))
            yield stored.schema.names, batches
        else:
            yield stream.schema.names, iter(stream)


def to_json(row: Any) -> str:
    """A row as JSON text; dates in ISO form, anything else that JSON lacks as its text."""
    return json.dumps(row, default=_foreign, ensure_ascii=False)


def _foreign(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def _safe(text: str) -> str:
    """Text without lone surrogates, which no database column can hold."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
