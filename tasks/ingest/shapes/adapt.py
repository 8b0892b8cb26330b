"""Records of a file to records that the ledger takes, by the shape of the file.

    {"run_id": ..., "correction": ...}  ──►  {"id": ..., "prompt": ..., "target": ..., "raw": {...}}

The row stays in the record as `raw`, as it was written, so that nothing it says is lost. A row that
gives no report stays as it is, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from ledger.intake import LINE_SCHEMA
from tasks.ingest.lines import Chunk
from tasks.ingest.shapes.shape import Join, NoQuestion, Row, Shape, Unusable
from text import strict_json

WHITE_SPACE = "\ufeff \t\r\n"


def adapted(
    chunks: Iterator[Chunk], shape: Shape, about: Mapping[str, str] | None = None
) -> Iterator[Chunk]:
    """Chunks of rows as chunks of reports, line by line. about: texts of rows that others name, by id."""
    for chunk in chunks:
        parts = [_adapted(batch, shape, about or {}) for batch in chunk.table.to_batches()]
        yield Chunk(pa.concat_tables(parts) if parts else chunk.table, chunk.offset, chunk.last)


def _adapted(batch: pa.RecordBatch, shape: Shape, about: Mapping[str, str]) -> pa.Table:
    texts, problems = batch["raw"].to_pylist(), batch["unreadable"].to_pylist()
    for place, problem in enumerate(problems):
        if problem is None:
            texts[place], problems[place] = as_report(texts[place], shape, about)
    return pa.table([batch["line"], texts, problems], schema=LINE_SCHEMA)


def as_report(text: str, shape: Shape, about: Mapping[str, str]) -> tuple[str, str | None]:
    """The text of a row as that of a report, and why it gives none.

    What is no JSON object is left to the ledger, which says so.
    """
    text, raw = text.strip(WHITE_SPACE), text
    try:
        row = strict_json.parse(text)
    except strict_json.AmbiguousJSON as error:
        return raw, str(error)
    except (ValueError, RecursionError):
        return raw, None
    if not isinstance(row, dict):
        return raw, None
    try:
        if shape.join is not None:
            text = _joined(text, row, shape.join, about)
        fields = shape.report(row)
        if shape.origin is not None and (origin := shape.origin(row)) is not None:
            fields["origin"] = {"tool": shape.name, **origin._asdict()}
        return f'{strict_json.to_text(fields)[:-1]}, "raw": {text}}}', None
    except NoQuestion as error:
        names = ", ".join(name[:40] for name in list(row)[:12])
        return (
            raw,
            f"{error}; the row has: {names}. Give a preset that names it (--preset), or --shape",
        )
    except Unusable as error:
        return raw, str(error)
    except Exception as error:  # whatever a row holds, its neighbours are read
        return raw, f"not a row of the shape {shape.name!r}: {type(error).__name__} {error}"[:300]


def _joined(text: str, row: Row, join: Join, about: Mapping[str, str]) -> str:
    """Put the rows that a row names into it; its text with them."""
    config = join.config_of(row) if join.config_of is not None else None
    named = (
        ("about", next((name for name in join.about(row) if name in about), None)),
        ("config", config if config in about else None),
    )
    for key, name in named:
        if name is None:
            continue
        present = key in row
        row[key] = strict_json.parse_leniently(about[name])
        text = strict_json.to_text(row) if present else f'{text[:-1]}, "{key}": {about[name]}}}'
    return text


def rows_in(
    chunks: Iterator[Chunk], parse: Callable[[str], Any] = strict_json.parse
) -> Iterator[tuple[str, Row]]:
    """The JSON objects among the records, each with its text."""
    for chunk in chunks:
        for batch in chunk.table.select(["raw", "unreadable"]).to_batches():
            for text, problem in zip(*(column.to_pylist() for column in batch), strict=True):
                text = text.strip(WHITE_SPACE)
                try:
                    row = parse(text) if problem is None else None
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield text, row
