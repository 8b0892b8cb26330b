"""A progress display that listens to the steps: bars on a terminal, lines where there is none."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def shown(*, quiet: bool = False) -> Iterator[None]:
    """Show what the steps report, on stderr, for the time of the block. quiet: nothing on a terminal.

    Lines go to a log also where the output is JSON: it is on the other stream.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from execution.progress import lines_to, listening

    if not sys.stderr.isatty():
        with listening(lines_to(sys.stderr)):
            yield
        return
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=quiet,
    ) as bar:
        rows: dict[str, object] = {}

        def draw(what: str, done: int, total: int) -> None:
            if what not in rows:
                rows[what] = bar.add_task(what, total=total)
            bar.update(rows[what], completed=done, total=total, visible=done < total)  # type: ignore[arg-type]

        with listening(draw):
            yield
