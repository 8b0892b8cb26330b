"""Which reader a file needs, and the readers that go record by record.

    .csv .tsv          Python's csv, a row a record, as JSON text
    .parquet           pyarrow, in batches, as JSON text
    .json              JSON values one after another or in one array, each as it stands in the file
    anything else      a JSON object a line (tasks/ingest/lines.py)

A `.gz` or `.zst` at the end is looked through. Every reader can begin after the records that were
taken before, holds one batch at a time, and turns what it can't read into one marked record.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.errors import UnpacksTooLarge
from tasks.ingest.lines import (
    BLOCK,
    DAMAGE,
    Chunk,
    ahead,
    broken,
    first_line,
    marked_row,
    open_bytes,
    read_lines,
    too_long,
)

Record = tuple[str, str | None]  # text, and why it can't be read
RECORDS_AT_ONCE = 20_000


def read(
    path: Path, *, first_line: int, offset: int, chunk_lines: int, max_line_bytes: int,
    max_file_bytes: int,
) -> Iterator[Chunk]:  # fmt: skip
    """Yield a file's records after the first `first_line`, in chunks.

    `offset` is where the next line begins in a file of lines; other formats count records.
    """
    kind = kind_of(path)
    if kind == "lines":
        yield from ahead(read_lines(
            path, first_line=first_line, offset=offset, chunk_lines=chunk_lines,
            max_line_bytes=max_line_bytes, max_file_bytes=max_file_bytes,
        ))  # fmt: skip
        return
    records = {"csv": _csv, "parquet": _parquet, "json": _json}[kind](path, max_file_bytes)
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
            text, problem = marked_row(text), too_long(max_line_bytes)
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


def _text_blocks(file: IO[bytes], max_file_bytes: int) -> Iterator[str]:
    """Decode a file block by block; what is no UTF-8 becomes an escape that JSON refuses."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("backslashreplace")
    passed = 0
    while block := file.read(BLOCK):
        passed += len(block)
        if passed > max_file_bytes:
            raise UnpacksTooLarge(f"it unpacks to more than {max_file_bytes} bytes")
        yield decoder.decode(block)
    yield decoder.decode(b"", True)


def _csv(path: Path, max_file_bytes: int) -> Iterator[Record]:
    """One record a row, keyed by the first row; empty cells are left out, JSON lists opened."""
    csv.field_size_limit(2**31 - 1)
    separator = "\t" if ".tsv" in path.name.lower() else ","
    try:
        with open_bytes(path) as file:
            rows = csv.reader(_csv_lines(file, max_file_bytes), delimiter=separator)
            header: list[str] | None = None
            for row in rows:
                if header is None:
                    header = [name.strip() for name in row]
                    continue
                if not row:
                    continue
                if len(row) > len(header):
                    text = json.dumps(row, ensure_ascii=False)
                    yield _safe(text), f"the row has {len(row)} cells, the header {len(header)}"
                    continue
                cells = {name: _cell(cell) for name, cell in zip(header, row, strict=False) if cell}
                yield _safe(json.dumps(cells, ensure_ascii=False)), None
    except (*DAMAGE, csv.Error, ValueError) as error:
        yield "", broken(error)


def _csv_lines(file: IO[bytes], max_file_bytes: int) -> Iterator[str]:
    rest = ""
    for block in _text_blocks(file, max_file_bytes):
        lines = io.StringIO(rest + block, newline="").readlines()
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        yield from lines
    if rest:
        yield rest


def _cell(cell: str) -> object:
    """A cell that holds a JSON list is that list; every other cell is its text."""
    if cell.startswith("["):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _parquet(path: Path, max_file_bytes: int) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=RECORDS_AT_ONCE):
                for row in batch.to_pylist():
                    yield _safe(to_json(row)), None
    except (*DAMAGE, ValueError, OverflowError) as error:
        yield "", broken(error)


def _json(path: Path, max_file_bytes: int) -> Iterator[Record]:
    """Each value of one array, or of values one after another, as it stands in the file."""
    decoder = json.JSONDecoder()
    text, place, in_array, comma = "", 0, None, False
    try:
        with open_bytes(path) as file:
            blocks = _text_blocks(file, max_file_bytes)
            ended = False
            while True:
                place = _past_space(text, place)
                if place >= len(text) or (not ended and len(text) - place < 2):
                    if ended and place >= len(text):
                        if in_array:
                            yield "", "the file breaks off here: its array is not closed"
                        return
                    block = next(blocks, None)
                    ended = block is None
                    text, place = text[place:] + (block or ""), 0
                    continue
                if in_array is None:
                    in_array = text[place] == "["
                    place += in_array
                    continue
                if in_array and text[place] == "]":
                    rest = text[place + 1 :].strip()
                    if rest:
                        yield _safe(rest[:2000]), "there is more after the end of the array"
                    return
                if in_array and comma and text[place] == ",":
                    place, comma = place + 1, False
                    continue
                try:
                    _, end = decoder.raw_decode(text, place)
                except (ValueError, RecursionError) as error:
                    block = None if isinstance(error, RecursionError) else next(blocks, None)
                    if block is None:
                        yield _safe(text[place : place + 2000]), f"not JSON: {first_line(error)}"
                        return
                    text, place = text[place:] + block, 0
                    continue
                if end == len(text) and not ended:  # a number may go on in the next block
                    block = next(blocks, None)
                    ended = block is None
                    text, place = text[place:] + (block or ""), 0
                    if block:
                        continue
                    end = len(text)
                yield _safe(text[place:end]), None
                place, comma = end, True
    except DAMAGE as error:
        yield "", broken(error)


def to_json(row: Any) -> str:
    """A row as JSON text; dates in ISO form, anything else that JSON lacks as its text."""
    return json.dumps(row, default=_foreign, ensure_ascii=False)


def _foreign(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def _past_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\n\r":
        place += 1
    return place


def _safe(text: str) -> str:
    """Text without lone surrogates, which no database column can hold."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
