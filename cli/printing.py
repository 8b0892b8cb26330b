"""What most commands print: records or an outcome, as JSON where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import typer

from console.output import print_json, print_table

Record = TypeVar("Record")
Columns = Mapping[str, Callable[[Record], object]]  # by heading: what stands below it of a record


def print_records(
    records: Sequence[Record],
    columns: Columns[Record],
    as_json: bool,
    *,
    of: Callable[[Record], object] | None = None,
) -> None:
    """Print records as JSON, or these columns of them as a table.

    of: what JSON says of a record; None: all that it holds.
    """
    if as_json:
        print_json([of(record) for record in records] if of else records)
    else:
        print_columns(records, columns)


def print_columns(records: Sequence[Record], columns: Columns[Record]) -> None:
    """Print these columns of records as a table."""
    print_table(list(columns), [[cell(row) for cell in columns.values()] for row in records])


def print_outcome(value: Any, sentence: str, as_json: bool) -> None:
    """Print what was done: as JSON, or as a sentence."""
    if as_json:
        print_json(value)
    else:
        typer.echo(sentence)
