"""A progress display that listens to the steps; quiet where the output is piped or JSON."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def shown(*, quiet: bool = False) -> Iterator[None]:
    """Draw what the steps report, on stderr, for the time of the block."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from tasks.progress import listening

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        console=console, transient=True, disable=quiet or not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        rows: dict[str, object] = {}

        def draw(what: str, done: int, total: int) -> None:
            if what not in rows:
                rows[what] = bar.add_task(what, total=total)
            bar.update(rows[what], completed=done, total=total, visible=done < total)  # type: ignore[arg-type]

        with listening(draw):
            yield
