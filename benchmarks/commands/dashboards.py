"""`melo bench dashboards`: the pages, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.record import Out, finish


def dashboards(
    ctx: typer.Context,
    edits: Annotated[int, typer.Option(min=100, help="Of the synthetic ledger.")] = 100_000,
    versions: Annotated[int, typer.Option(min=10, help="Of the synthetic ledger.")] = 500,
    on: Annotated[
        Path | None, typer.Option(help="Measure this home instead.", exists=True, file_okay=False)
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Also a screenshot of each page, into this folder.")
    ] = None,
    out: Out = None,
) -> None:
    """Seconds of each page, from navigation to the last chart; exit code 1 where one takes 2 s."""
    from benchmarks.dashboards import bench
    from benchmarks.progress import console_progress

    with console_progress() as progress:
        figures = bench(
            edits=edits, versions=versions, home=on, pictures=pictures, progress=progress
        )
    finish(ctx, figures, out)
    if not figures["within_limit"]:
        raise typer.Exit(1)
