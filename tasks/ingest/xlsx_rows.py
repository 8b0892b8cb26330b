"""XLSX, row by row, as JSON text: every sheet that has known columns, below a title too.

openpyxl 3.1 reads it (https://openpyxl.readthedocs.io/en/stable/optimized.html), one row in memory at a
time: values as they are shown (tasks/ingest/typed_values.py), a formula by the value last computed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import date, time
from itertools import chain, islice
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from config import IngestSettings
from ledger import NOTHING_TO_CORRECT
from tasks.ingest.columns import Columns
from tasks.ingest.errors import UnpacksTooLarge
from tasks.ingest.lines import Record, broken
from tasks.ingest.opening import DAMAGE
from tasks.ingest.typed_values import as_seen, formatted
from text import strict_json

HEADER_WITHIN = 10  # rows of a sheet in which its header must stand


def read_xlsx(path: Path, settings: IngestSettings, columns: Columns) -> Iterator[Record]:
    """One record a row, keyed by the header of its sheet; empty cells and rows are left out."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > settings.max_file_bytes:
                raise UnpacksTooLarge(settings.max_file_bytes)
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            known = [_is_known(_rows_of(sheet), columns) for sheet in book.worksheets]
            for sheet, has_columns in zip(book.worksheets, known, strict=True):
                if has_columns or not any(known):
                    yield from _records(_rows_of(sheet), sheet.title, columns)
                elif (first := next(_rows_of(sheet), None)) is not None:
                    yield (
                        json.dumps(first),
                        f"{NOTHING_TO_CORRECT}: sheet {sheet.title} has no header with a column that is "
                        "known, so it is not read",
                    )
        finally:
            book.close()
    except (*DAMAGE, zipfile.BadZipFile, ParseError, KeyError, ValueError, TypeError) as error:
        yield "", broken(error)


def _rows_of(sheet: Any) -> Iterator[list[Any]]:
    """The rows of a sheet that are not empty, as people see them."""
    for row in sheet.iter_rows():
        cells = [_seen(cell) for cell in row]
        if any(isinstance(cell, int | float) or cell.strip() for cell in cells):
            yield cells


def _is_known(rows: Iterator[list[Any]], columns: Columns) -> bool:
    """Whether the header has names of columns that are read."""
    begin = list(islice(rows, HEADER_WITHIN))
    return bool(begin) and columns.matches(_names(begin[_header_place(begin, columns)])) > 0


def _names(row: list[Any]) -> list[str]:
    return [str(cell) for cell in row]


def _header_place(rows: list[list[Any]], columns: Columns) -> int:
    """Which of the first rows is the header: below a title the first with several known columns."""
    if not columns.matches(_names(rows[0])):
        for place, row in enumerate(rows):
            header = columns.named(_names(row))
            if columns.matches(header) > 1 or columns.required & set(header):
                return place
    return 0


def _records(rows: Iterator[list[Any]], sheet: str, columns: Columns) -> Iterator[Record]:
    begin = list(islice(rows, HEADER_WITHIN))
    if not begin:
        return
    place = _header_place(begin, columns)
    header = columns.named(_names(begin[place]))
    problem = columns.problem(header)
    problem = problem and f"sheet {sheet}: {problem}"
    if problem and not columns.matches(header):  # it may be a row, and the header missing
        yield json.dumps(begin[place]), problem
    for cells in chain(begin[place + 1 :], rows):
        try:
            record = columns.record(header, cells)
        except strict_json.AmbiguousJSON as error:
            yield json.dumps(cells), str(error)
        else:
            kept = record if problem is None else columns.evidence(header, cells)
            yield json.dumps(kept), problem


def _seen(cell: Any) -> str | int | float:
    """What a spreadsheet shows in a cell; numbers and truth values stay what they are."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return formatted(value, cell.number_format)  # type: ignore[no-any-return]
    return str(as_seen(value) if isinstance(value, date | time) else value)
