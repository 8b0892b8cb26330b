"""The interface of an adapter: rows in, reports out, and what could not be read.

    {"traceId": ..., "dataType": "CORRECTION", ...}      a row, as the tool exports it
                    │ Shape.report
                    ▼
    {"prompt": ..., "target": ..., "old_answer": ...}    the fields of an error report
    or Unusable("...")                                   why the row gives none

One row gives one report or one reason, so each keeps its line. A report without a `target` is held
until somebody says the right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ledger import NOTHING_TO_CORRECT

Row: TypeAlias = dict[str, Any]  # one JSON object of an export
Fields: TypeAlias = dict[str, Any]  # of an error report, named as in a line of `melo ingest`


class Origin(NamedTuple):
    """A place in a tool, as the tool names it."""

    trace: str
    span: str | None = None


class Unusable(ValueError):
    """A row that gives no report. The message is the reason that the ledger keeps."""


class NoQuestion(Unusable):
    """A row without the question; the names that it has instead are told with the reason."""


class NothingToCorrect(Unusable):
    """A row that is well understood and names no error, as a thumbs-up does."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{NOTHING_TO_CORRECT}: {why}")


@dataclass(frozen=True)
class Join:
    """How a row finds the row that it is about, in any of the files given together.

    about: the ids of the rows that a row is about, the best first; none where it needs no other.
    id_of: the id by which others name a row; None where none does.
    config_of: the id of the row that says how to read a row, as the scale of its score.
    stands_for: the id of a whole that a row stands for where the whole has no row of its own, as the
    root observation of a trace does.
    The rows that are found stand in the other one under "about" and "config" when `Shape.report` is
    called.
    """

    about: Callable[[Row], Sequence[str]]
    id_of: Callable[[Row], str | None]
    config_of: Callable[[Row], str | None] | None = None
    stands_for: Callable[[Row], str | None] | None = None

    def named(self, row: Row) -> Iterator[str]:
        """The ids of all rows that a row names."""
        yield from self.about(row)
        if self.config_of is not None and (config := self.config_of(row)):
            yield config


@dataclass(frozen=True)
class Shape:
    """One tool's export.

    recognises: whether a row is one of this shape; asked of the first row of a file.
    report: the fields of the report that a row gives. Raises Unusable.
    columns: names at the top of a row, by which the header of a table is read.
    page: the name under which one JSON object of the tool's API holds a list of rows.
    flat: whether its rows are nothing but columns, so that what it does not name is left unread.
    origin: the trace and span of the tool that a row is about, where its status can be written back.
    """

    name: str
    tool: str
    reads: str
    recognises: Callable[[Row], bool]
    report: Callable[[Row], Fields]
    columns: tuple[str, ...] = ()
    join: Join | None = None
    page: str | None = None
    origin: Callable[[Row], Origin | None] | None = None
    flat: bool = False
