"""`melo bench faults|overhead|day|situations`: the pipeline when nobody is at it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.commands.record import Out, finish
from console.output import print_table


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
            (
                f["name"],
                f["survived"],
                f["lost"],
                f["doubled"],
                f.get("seconds"),
                "; ".join(f["problems"]),
            )
            for f in figures["faults"]
        ],
    )
    finish(ctx, figures, out)
    if figures["survived"] < figures["of"]:
        raise typer.Exit(1)


def overhead(
    ctx: typer.Context,
    few: Annotated[int, typer.Option(min=1, help="Edits of the small run.")] = 1,
    many: Annotated[int, typer.Option(min=2, help="Edits of the large run.")] = 500,
    out: Out = None,
) -> None:
    """What a run costs beyond training and generating, with few and with many edits."""
    from benchmarks.overhead import bench

    figures = bench(few, many, lambda text: typer.echo(text, err=True))
    finish(ctx, figures, out)
    if not figures["met"]:
        raise typer.Exit(1)


def day(
    ctx: typer.Context,
    runs: Annotated[int, typer.Option(min=1, help="Edit runs of the day.")] = 100,
    out: Out = None,
) -> None:
    """A day of a deployment in seconds: memory stays flat, no run is orphaned, counts add up."""
    from benchmarks.day import bench

    figures = bench(runs, lambda text: typer.echo(text, err=True))
    finish(ctx, figures, out)
    if not (figures["flat"] and figures["adds_up"] and not figures["orphaned"]):
        raise typer.Exit(1)


def situations(
    ctx: typer.Context,
    steps: Annotated[int, typer.Option(min=1, help="Situations to go through.")] = 200,
    seed: Annotated[int, typer.Option(help="The same ones for the same seed.")] = 0,
    out: Out = None,
) -> None:
    """What befalls a home in a life, drawn by chance: after each step all that must hold is checked."""
    from benchmarks.situations import bench

    figures = bench(steps, seed, lambda text: typer.echo(text, err=True))
    finish(ctx, figures, out, seed=seed)
    if figures["violations"]:
        raise typer.Exit(1)
