"""CSV and TSV, row by row, as JSON text, as spreadsheets and tools write them.

    sep=;                                  a line that names the separator is obeyed
    Prompt;Target;Subject                  else the header tells: , ; tab |
    Who leads Norvik Labs?;Ada Li;Norvik Labs
    ;;                                     an empty row is none

A row that breaks the quoting is one marked record with the lines that it took. A quote that is never
closed takes the rest of the file: what stands before it is read.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

from config import IngestSettings
from tasks.ingest.columns import Columns
from tasks.ingest.lines import KEPT_OF_LONG_LINE, Record, broken
from tasks.ingest.opening import BLOCK, DAMAGE, bytes_of, decoded, open_utf8, text_blocks
from text import strict_json

SEPARATORS = ",;\t|"
LONGEST = 8 * BLOCK  # characters in which a quote must be closed
_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def read_csv(path: Path, settings: IngestSettings, columns: Columns) -> Iterator[Record]:
    """One record a row, keyed by the header; empty cells are left out, JSON lists opened."""
    csv.field_size_limit(LONGEST)
    default = "\t" if ".tsv" in path.name.lower() else ","
    try:
        with open_utf8(path) as file:
            lines = _Lines(_physical_lines(file, settings.max_file_bytes))
            begin = next((line for line in lines if line.strip()), "")
            if named := _NAMED_SEPARATOR.fullmatch(begin):
                separator = named.group(1)
            else:
                separator = _separator(begin, default, columns)
                lines.put_back(begin)
            yield from _rows(lines, separator, columns, settings.encoding)
    except (*DAMAGE, ValueError) as error:
        yield "", broken(error)


class _Lines:
    """The lines of a file, counted; `taken` are those of the row being read, its evidence."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if len(self.taken) < KEPT_OF_LONG_LINE:
            self.taken.append(line[:KEPT_OF_LONG_LINE])
        return line

    def put_back(self, line: str) -> None:
        """Read a line once more."""
        self._lines = chain([line], self._lines)
        self.number -= 1


def _rows(
    lines: _Lines, separator: str, columns: Columns, encoding: str | None
) -> Iterator[Record]:
    rows = csv.reader(lines, delimiter=separator, strict=True)
    header: list[str] | None = None
    unusable = None
    while True:
        begin = lines.number + 1
        lines.taken.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            if "field limit" in str(error):  # what follows stands within the quote
                deque(lines, maxlen=0)
                error = csv.Error("unexpected end of data")
            yield _malformed(lines, begin, error)
            continue
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        row, problem = _decoded(row, encoding)
        if header is None:
            header = columns.named(row)
            unusable = columns.problem(header) or problem
            if unusable and not columns.matches(row):  # it may be a row, and the header missing
                yield json.dumps(row, ensure_ascii=False), unusable
            continue
        problem = problem or unusable or _misfit(row, header, begin, lines.number)
        kept: Any = row
        if problem is None:
            try:
                kept = columns.record(header, row)
            except strict_json.AmbiguousJSON as error:
                problem = str(error)
        elif problem == unusable:
            kept = columns.evidence(header, row)
        yield json.dumps(kept, ensure_ascii=False), problem


def _separator(header: str, default: str, columns: Columns) -> str:
    """The separator by which a header has most of the known columns; the usual one among equals."""

    def matches(separator: str) -> int:
        try:
            return columns.matches(next(csv.reader([header], delimiter=separator)))
        except (csv.Error, StopIteration):
            return 0

    return max(dict.fromkeys(default + SEPARATORS), key=matches)


def _malformed(lines: _Lines, begin: int, error: csv.Error) -> Record:
    """The record of lines whose quotes can't be understood."""
    where = f"line {begin}" if lines.number <= begin else f"lines {begin} to {lines.number}"
    raw = "".join(lines.taken)[:KEPT_OF_LONG_LINE]
    data = bytes_of(raw)
    text = raw if data is None else data.decode("utf-8", "backslashreplace")
    if "end of data" in str(error):
        return (
            text,
            f"unexpected end of data: a quote in {where} is not closed, so none of it is read",
        )
    return text, f"not CSV in {where}: {error}"


def _misfit(row: Sequence[str], header: Sequence[str], begin: int, end: int) -> str | None:
    if any(cell.strip() for cell in row[len(header) :]):
        return f"the row has {len(row)} cells, the header {len(header)}"
    if len(row) < len(header) and end > begin and any("\n" in cell for cell in row):
        return (
            f"a quoted cell runs over lines {begin} to {end}, and the row has {len(row)} cells of "
            f"{len(header)}: a quote may not be closed"
        )
    return None


def _decoded(row: list[str], encoding: str | None) -> tuple[list[str], str | None]:
    """A row with what is no UTF-8 read in the code page that was named: a row has one encoding."""
    if bytes_of("".join(row)) is None:
        return row, None
    cells = [cell.encode("utf-8", "surrogateescape") for cell in row]
    if encoding is not None:
        with contextlib.suppress(UnicodeDecodeError):
            return [cell.decode(encoding) for cell in cells], None
    problems = [decoded(cell, encoding, f"cell {number}") for number, cell in enumerate(cells, 1)]
    return [text for text, _ in problems], next(problem for _, problem in problems if problem)


def _physical_lines(file: IO[bytes], max_file_bytes: int) -> Iterator[str]:
    rest = ""
    for block in text_blocks(file, max_file_bytes):
        lines = io.StringIO(rest + block, newline="").readlines()
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        yield from lines
    if rest:
        yield rest
