"""`melo bench`: a command for each benchmark, which is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands import dashboards, editor, pipeline, service, unattended
from benchmarks.commands.record import RESULTS
from console.context import new_app

app = new_app(no_args_is_help=True)


@app.callback()
def _bench(
    ctx: typer.Context,
    results: Annotated[
        Path | None,
        typer.Option(help="Keep records here.", envvar="MELO_BENCH_RESULTS", file_okay=False),
    ] = None,
) -> None:
    """Measure quality and speed; each keeps and prints one JSON record."""
    ctx.meta[RESULTS] = results


for command in (
    editor.edit,
    editor.keys,
    editor.matching,
    editor.scale,
    editor.gpu,
    editor.profile,
    pipeline.product,
    pipeline.gate,
    pipeline.ingest,
    pipeline.kill,
    pipeline.contention,
    service.serve,
    service.fuzz,
    unattended.faults,
    dashboards.dashboards,
    unattended.overhead,
    unattended.day,
    unattended.situations,
):
    app.command()(command)


@app.command()
def report(
    ctx: typer.Context,
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/benchmarks.md"),
) -> None:
    """Render tables and plots of the latest records into a page."""
    from benchmarks.records import latest, read_records
    from benchmarks.report import write_page

    records = latest(read_records(ctx.meta[RESULTS]))
    write_page(page, records)
    typer.echo(f"{page}: {len(records)} records")
