"""Any bytes to chunks of numbered lines, with flat memory.

    open (plain, gzip, zstd) ──► blocks ──► lines ──► Chunk(table: line, raw, unreadable; offset)

The blocks become Arrow columns without a copy for each line; DuckDB does the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from config import IngestSettings
from ledger.intake import LINE_SCHEMA
from registry.asking import first_line
from tasks.ingest.errors import UnpacksTooLarge
from tasks.ingest.opening import BLOCK, DAMAGE, decoded, open_utf8

Record = tuple[str, str | None]  # text, and why it can't be read
BATCH = 16_384  # rows of an Arrow batch: DuckDB reads batches in parallel
KEPT_OF_LONG_LINE = 2_000  # characters of an over-long line that are kept as evidence


@dataclass(frozen=True)
class Chunk:
    """Lines that follow each other; `offset` is where the next line begins."""

    table: pa.Table
    offset: int
    last: bool


def ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same chunks, each read by a thread while the one before it is being used."""
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        waiting = reader.submit(next, chunks, None)
        while (chunk := waiting.result()) is not None:
            waiting = reader.submit(next, chunks, None)
            yield chunk


def read_lines(
    path: Path, settings: IngestSettings, *, first_line: int, offset: int
) -> Iterator[Chunk]:
    """Yield the lines from byte `offset` on, numbered from `first_line`, in chunks.

    A line longer than `max_line_bytes` is kept cut short and marked. One that is no UTF-8 is read in
    the code page `encoding`, and marked where that is None or does not fit.
    An unpacking error ends the input with one marked line. Raises OSError where the disk fails.
    """
    parts: list[pa.Table] = []
    waiting = 0
    for table, next_offset, last in _tables(path, settings, offset, first_line):
        parts.append(table)
        waiting += table.num_rows
        if last or waiting >= settings.chunk_lines:
            yield Chunk(pa.concat_tables(parts), next_offset, last)
            parts, waiting = [], 0


def _tables(
    path: Path, settings: IngestSettings, offset: int, number: int
) -> Iterator[tuple[pa.Table, int, bool]]:
    max_line_bytes, max_file_bytes = settings.max_line_bytes, settings.max_file_bytes
    block_size = max(BLOCK, max_line_bytes)
    problem: str | None = None
    with open_utf8(path) as file:
        rest = head = b""
        skipping = 0  # bytes of an over-long line that are already behind
        try:
            _skip(file, offset)
            while block := file.read(block_size):
                data = rest + block
                if offset + skipping + len(data) > max_file_bytes:
                    raise UnpacksTooLarge(max_file_bytes)
                end = data.rfind(b"\n") + 1
                if skipping:
                    end = data.find(b"\n") + 1
                    if end == 0:
                        skipping += len(data)
                        rest = b""
                        continue
                    rest = data[end:]
                    offset += skipping + end
                    skipping = 0
                    yield _marked(number, _cut(head), too_long(max_line_bytes)), offset, False
                    number += 1
                    continue
                if end == 0 and len(data) > max_line_bytes:
                    head, skipping, rest = data[:KEPT_OF_LONG_LINE], len(data), b""
                    continue
                rest = data[end:]
                if end:
                    table = _table(data[:end], number, settings)
                    number += table.num_rows
                    offset += end
                    yield table, offset, False
        except DAMAGE as error:
            problem = broken(error)
        if skipping:
            offset += skipping
            yield _marked(number, _cut(head), too_long(max_line_bytes)), offset, problem is None
            number += 1
        elif rest:
            table = _table(rest, number, settings)
            number += table.num_rows
            yield table, offset + len(rest), problem is None
        elif problem is None:
            yield _table(b"", number, settings), offset, True
        if problem is not None:
            yield _marked(number, "", problem), offset, True


def _skip(file: IO[bytes], offset: int) -> None:
    if file.seekable():
        file.seek(offset)
        return
    while offset > 0 and (passed := file.read(min(offset, BLOCK))):
        offset -= len(passed)


def _table(data: bytes, number: int, settings: IngestSettings) -> pa.Table:
    """One Arrow row for each line of `data`, blank lines at no cost."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10) + 1  # (lines,)
    if data and (len(ends) == 0 or ends[-1] != len(data)):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends]).astype(np.int64)  # (lines + 1,)
    lengths = np.diff(offsets)
    try:
        if not data.isascii():
            data.decode("utf-8")
        plain = len(lengths) == 0 or int(lengths.max()) <= settings.max_line_bytes
    except UnicodeDecodeError:
        plain = False
    if plain:
        raw = pa.LargeStringArray.from_buffers(
            len(lengths), pa.py_buffer(offsets), pa.py_buffer(data)
        )
        unreadable = pa.nulls(len(lengths), pa.string())
    else:
        raw, unreadable = _one_by_one(data, offsets, settings)
    numbers = np.arange(number + 1, number + 1 + len(lengths), dtype=np.int64)
    table = pa.table([numbers, raw, unreadable], schema=LINE_SCHEMA)
    return pa.Table.from_batches(table.to_batches(max_chunksize=BATCH), table.schema)


def _one_by_one(
    data: bytes,
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]],
    settings: IngestSettings,
) -> tuple[pa.Array, pa.Array]:
    texts: list[str] = []
    problems: list[str | None] = []
    for start, end in itertools.pairwise(offsets.tolist()):
        line = data[start:end]
        text, problem = (
            decoded(line, settings.encoding)
            if len(line) <= settings.max_line_bytes
            else (_cut(line), too_long(settings.max_line_bytes))
        )
        texts.append(text)
        problems.append(problem)
    return pa.array(texts, pa.large_string()), pa.array(problems, pa.string())


def _marked(number: int, raw: str, problem: str) -> pa.Table:
    return pa.table([[number + 1], [raw], [problem]], schema=LINE_SCHEMA)


def _cut(line: bytes) -> str:
    return line[:KEPT_OF_LONG_LINE].decode("utf-8", "backslashreplace")


def too_long(max_line_bytes: int) -> str:
    """The reason for a record over the limit."""
    return f"the line has more than {max_line_bytes} bytes"


def broken(error: BaseException) -> str:
    """The mark of a file whose content can't be read to its end.

    Raises the error of a disk or a mount (it has a number): that may pass, and the content be well.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return f"the file breaks off here: {first_line(error)[:200]}"
