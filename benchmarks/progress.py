"""Progress on the error stream, for benchmarks that take minutes: bars, or lines where it is a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from execution.progress import lines_to

__all__ = ["Report", "console_progress", "lines_to", "silent"]

Report = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Nobody listens."""


@contextmanager
def console_progress() -> Iterator[Report]:
    """Gives `report(what, done, total)`: a bar for each `what`, or a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lines_to(console.file)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report
