"""XLSX, row by row, as JSON text: every sheet, its first row that is not empty as the header.

openpyxl 3.1 reads it (https://openpyxl.readthedocs.io/en/stable/optimized.html), one row in memory at a
time: values as they are shown (tasks/ingest/typed_values.py), a formula by the value last computed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from config import IngestSettings
from tasks.ingest.columns import Columns
from tasks.ingest.csv_rows import read_cell
from tasks.ingest.errors import UnpacksTooLarge
from tasks.ingest.lines import Record, broken
from tasks.ingest.opening import DAMAGE
from tasks.ingest.typed_values import as_seen, formatted
from text import strict_json


def read_xlsx(path: Path, settings: IngestSettings, columns: Columns) -> Iterator[Record]:
    """One record a row, keyed by the header of its sheet; empty cells and rows are left out."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > settings.max_file_bytes:
                raise UnpacksTooLarge(f"it unpacks to more than {settings.max_file_bytes} bytes")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                yield from _rows(sheet.iter_rows(), sheet.title, columns)
        finally:
            book.close()
    except (*DAMAGE, zipfile.BadZipFile, ParseError, KeyError, ValueError, TypeError) as error:
        yield "", broken(error)


def _rows(rows: Iterator[tuple[Any, ...]], sheet: str, columns: Columns) -> Iterator[Record]:
    header: list[str] | None = None
    problem: str | None = None
    for row in rows:
        cells = [_seen(cell) for cell in row]
        if not any(isinstance(cell, int | float) or cell.strip() for cell in cells):
            continue
        if header is None:
            header = columns.named([str(cell) for cell in cells])
            problem = columns.problem(header)
            problem = problem and f"sheet {sheet}: {problem}"
            if problem and not columns.matches(header):  # it may be a row, and the header missing
                yield json.dumps(cells), problem
            continue
        try:
            record = {
                name: read_cell(cell) if isinstance(cell, str) else cell
                for name, cell in zip(header, cells, strict=False)
                if name and cell != ""
            }
        except strict_json.AmbiguousJSON as error:
            yield json.dumps(cells), str(error)
        else:
            yield json.dumps(record if problem is None else cells), problem


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
