"""What the columns of a table are called, and whether a header can be used.

    "Prompt", " old answer ", "TARGET"   ──►   prompt, old_answer, target

A header names a field in any case, with blanks or hyphens for underscores. A column that comes twice
makes every row unusable, since either may be meant; so does a header without any column to ask by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger import Mapping
from ledger.json_paths import top
from ledger.staging import DEFAULT_PATHS
from text import strict_json


@dataclass(frozen=True)
class Columns:
    """The names that are read. required: those of which one must be there; empty: any will do.

    keeps_empty: whether an empty cell under one of the names stands in its row, as null.
    """

    names: tuple[str, ...]
    required: frozenset[str]
    keeps_empty: bool = False

    def matches(self, header: Sequence[str]) -> int:
        """How many of the names a header has."""
        return len(set(self.named(header)) & set(self.names))

    def named(self, header: Sequence[str]) -> list[str]:
        """A header with its fields' own names."""
        by_form = {_form(name): name for name in reversed(self.names)}
        return [
            cell.strip() if cell.strip() in self.names else by_form.get(_form(cell), cell.strip())
            for cell in header
        ]

    def problem(self, header: Sequence[str]) -> str | None:
        """Why the rows under a header, as `named` gives it, can't be used."""
        if (name := self.repeated(header)) is not None:
            return f'the column "{name[:80]}" comes twice in the header; keep one'
        if self.required and not self.required & set(header):
            present = ", ".join(f'"{name[:40]}"' for name in header[:12])
            wanted = " or ".join(f'"{name}"' for name in sorted(self.required))
            return (
                f"the header has no column {wanted}; it has {present}. Rename columns (prompt and "
                "target, or question and answer), or name them in a preset (docs/ledger.md): --preset"
            )
        return None

    def repeated(self, header: Sequence[str]) -> str | None:
        """The first name that comes twice in a header."""
        return next(
            (name for place, name in enumerate(header) if name and name in header[:place]), None
        )

    def record(self, header: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
        """The cells of a row by the header; a text that holds a JSON list opened.

        Empty ones are left out, or null where they are kept. Raises AmbiguousJSON.
        """
        cells = {n: _opened(cell) for n, cell in zip(header, row, strict=False) if n and cell != ""}
        kept = [n for n in header if n in self.names] if self.keeps_empty else []
        return {**dict.fromkeys(kept), **cells}

    def evidence(self, header: Sequence[str], row: Sequence[Any]) -> Any:
        """What is kept of a row that can't be used: its cells by the header, where that names each once.

        Under a preset that knows the names the row can be tried again.
        """
        if self.repeated(header) is not None or len(row) > len(header):
            return row
        return {name: cell for name, cell in zip(header, row, strict=False) if name and cell != ""}


def columns_of(mapping: Mapping) -> Columns:
    """The columns that a mapping reads, at the top of a document."""
    paths = {**DEFAULT_PATHS, **mapping.fields}
    tops = {field: [top(path) for path in wanted] for field, wanted in paths.items()}
    beside = [top(path) for wanted in mapping.side_by_side or () for path in wanted]
    names = [name for wanted in tops.values() for name in wanted] + beside
    return Columns(tuple(dict.fromkeys(names)), frozenset([*tops["prompt"], *tops["relation"]]))


def _opened(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith("["):
        return cell
    try:
        return strict_json.parse(cell)
    except strict_json.AmbiguousJSON:
        raise
    except (ValueError, RecursionError):
        return cell


def _form(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()
