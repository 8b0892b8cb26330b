"""Which reader a file needs, and the readers that go record by record.

    .csv .tsv          a row a record, as JSON text (tasks/ingest/csv_rows.py)
    .parquet           pyarrow, in batches, as JSON text
    .json              JSON values one after another or in one array (tasks/ingest/json_values.py)
    anything else      a JSON object a line (tasks/ingest/lines.py)

A `.gz` or `.zst` at the end is looked through, and so is an encoding that the bytes tell
(tasks/ingest/opening.py). Every reader can begin after the records that were
taken before, holds one batch at a time, and turns what it can't read into one marked record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.columns import Columns
from tasks.ingest.csv_rows import read_csv
from tasks.ingest.json_values import read_json
from tasks.ingest.lines import Chunk, ahead, broken, marked_row, read_lines, too_long
from tasks.ingest.opening import DAMAGE

Record = tuple[str, str | None]  # text, and why it can't be read
RECORDS_AT_ONCE = 20_000


def read(
    path: Path, *, first_line: int, offset: int, chunk_lines: int, max_line_bytes: int,
    max_file_bytes: int, columns: Columns, encoding: str | None = None,
) -> Iterator[Chunk]:  # fmt: skip
    """Yield a file's records after the first `first_line`, in chunks.

    `offset` is where the next line begins in a file of lines; other formats count records. encoding:
    of what is no UTF-8 and tells no other encoding itself; columns: what a table is read for.
    """
    kind = kind_of(path)
    if kind == "lines":
        yield from ahead(read_lines(
            path, first_line=first_line, offset=offset, chunk_lines=chunk_lines,
            max_line_bytes=max_line_bytes, max_file_bytes=max_file_bytes, encoding=encoding,
        ))  # fmt: skip
        return
    if kind == "csv":
        records = read_csv(path, columns=columns, encoding=encoding, max_file_bytes=max_file_bytes)
    elif kind == "json":
        records = read_json(path, encoding=encoding, max_file_bytes=max_file_bytes)
    else:
        records = _parquet(path, columns)
    yield from chunks(records, first_line, min(chunk_lines, RECORDS_AT_ONCE), max_line_bytes)


def kind_of(path: Path) -> str:
    """csv, parquet, json or lines, by the file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst", ".zstd"):
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".json": "json"}.get(last, "lines")


def chunks(
    records: Iterable[Record], first_line: int, size: int, max_line_bytes: int
) -> Iterator[Chunk]:
    """Number records and cut them into chunks; the last one is marked so, and may be empty."""
    texts: list[str] = []
    problems: list[str | None] = []
    begin = first_line
    for number, (text, problem) in enumerate(records):
        if number < first_line:
            continue
        if len(text) > max_line_bytes or (
            len(text) * 4 > max_line_bytes and len(text.encode("utf-8")) > max_line_bytes
        ):
            text, problem = marked_row(text), problem or too_long(max_line_bytes)
        texts.append(text)
        problems.append(problem)
        if len(texts) >= size:
            yield Chunk(_table(begin, texts, problems), 0, False)
            begin, texts, problems = begin + len(texts), [], []
    yield Chunk(_table(begin, texts, problems), 0, True)


def _table(begin: int, texts: list[str], problems: list[str | None]) -> pa.Table:
    return pa.table(
        {
            "line": pa.array(range(begin + 1, begin + 1 + len(texts)), pa.int64()),
            "raw": pa.array(texts, pa.large_string()),
            "unreadable": pa.array(problems, pa.string()),
        }
    )


def _parquet(path: Path, columns: Columns) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            header = columns.named(file.schema_arrow.names)
            problem = columns.problem(header)
            for batch in file.iter_batches(batch_size=RECORDS_AT_ONCE):
                cells = [column.to_pylist() for column in batch.columns]
                for row in zip(*cells, strict=True):
                    said = dict(zip(header, row, strict=True)) if problem is None else row
                    yield _safe(to_json(said)), problem
    except (*DAMAGE, ValueError, OverflowError) as error:
        yield "", broken(error)


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
