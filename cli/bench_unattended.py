"""`melo bench faults`: the pipeline when nobody is at it."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.bench_record import Out, finish
from cli.context import print_table


def faults(
    ctx: typer.Context,
    only: Annotated[str | None, typer.Option(help="Those with this in their name.")] = None,
    out: Out = None,
) -> None:
    """Every fault that must be survived: real servers, workers, kills. Takes half an hour."""
    from benchmarks.faults import bench

    figures = bench(only, lambda text: typer.echo(text, err=True))
    print_table(
        ("fault", "survived", "lost", "doubled", "seconds", "problems"),
        [
            (f["name"], f["survived"], f["lost"], f["doubled"], f.get("seconds"),
             "; ".join(f["problems"]))
            for f in figures["faults"]
        ],
    )  # fmt: skip
    finish(ctx, figures, out)
    if figures["survived"] < figures["of"]:
        raise typer.Exit(1)
