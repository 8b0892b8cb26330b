"""How a command prints what it has found: JSON, a table, a text cut to its column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from console.encoding import takes_everything

_SURROGATE = re.compile("[\ud800-\udfff]")  # of a name that is no text; no encoding has them


def print_json(value: Any) -> None:
    """Print a value, a dataclass or a list of them as JSON, which says the same in any encoding."""
    escaped = not takes_everything()
    text = json.dumps(value, default=_plain, ensure_ascii=escaped, indent=2)
    typer.echo(text if escaped else _SURROGATE.sub(_escape, text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table that fits the terminal; piped, its lines are never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(title=title or None, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))
    console.print(table)


def short(text: str | None, length: int = 60) -> str:
    """A text cut to fit a column."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return "".join(c if c.isprintable() else " " for c in str(value))


def _plain(value: Any) -> Any:
    """What JSON takes in the place of a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON.")
