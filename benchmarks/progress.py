"""Progress on the error stream, for benchmarks that take minutes: bars, or lines where it is a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[str, int, int], None]
LINE_EVERY = 30.0  # seconds, of each `what`


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


def lines_to(stream: IO[str], every: float = LINE_EVERY) -> Report:
    """Writes `what done/total`: its first report, its last, and one in `every` seconds between."""
    began = time.monotonic()
    last: dict[str, float] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what in last and done < total and now - last[what] < every:
            return
        last[what] = now
        print(f"{now - began:6.0f} s  {what} {done}/{total}", file=stream, flush=True)

    return report
