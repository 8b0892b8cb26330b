"""`melo bench`: the proof. Each benchmark is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import bench_dashboards, bench_editor, bench_pipeline, bench_service, bench_unattended
from cli.bench_record import RESULTS
from cli.context import new_app

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
    bench_editor.edit,
    bench_editor.keys,
    bench_editor.scale,
    bench_editor.gpu,
    bench_editor.profile,
    bench_pipeline.product,
    bench_pipeline.gate,
    bench_pipeline.ingest,
    bench_pipeline.kill,
    bench_pipeline.contention,
    bench_service.serve,
    bench_service.fuzz,
    bench_unattended.faults,
    bench_dashboards.dashboards,
    bench_unattended.overhead,
    bench_unattended.day,
    bench_unattended.situations,
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
