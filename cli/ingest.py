"""`melo ingest`: files, folders and globs into the ledger."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.context import Json, new_app, print_json, print_table, state

app = new_app()


@app.command()
def ingest(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    source: Annotated[
        str | None, typer.Option(help="Who reports; overrides what lines say themselves.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="The shape of the lines.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Count a file again that was read before.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Exit 0 although lines were quarantined.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take error reports and fresh facts into the ledger.

    Exit code 2 where a line had to be quarantined; all others are recorded all the same.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from tasks.ingest import ingest_paths

    here = state(ctx)
    here.settings  # noqa: B018  a wrong setting is told before anything is made
    with (
        here.ledger() as ledger,
        Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), transient=True, disable=as_json or not sys.stderr.isatty(),
        ) as bar,
    ):  # fmt: skip
        shown: dict[str, object] = {}

        def progress(name: str, read: int, size: int) -> None:
            if name not in shown:
                shown[name] = bar.add_task(name, total=size)
            bar.update(shown[name], completed=read)  # type: ignore[arg-type]

        outcome = ingest_paths(
            ledger, paths, here.settings, progress, source=source, preset=preset, again=again
        )
    names = ("lines", "accepted", "duplicates", "quarantined", "contradictions")
    if as_json:
        totals = {name: outcome.total(name) for name in names}
        print_json({**totals, "files": outcome.files})
    else:
        print_table(
            ("file", *names),
            [
                (
                    file.name + (" (read before)" if file.known_before else ""),
                    *(getattr(file, name) for name in names),
                )
                for file in outcome.files
            ],
        )
    bad = next((file for file in outcome.files if file.quarantined), None)
    if bad is not None:
        typer.echo(
            f"melo: {outcome.total('quarantined')} of {outcome.total('lines')} lines were "
            f"quarantined, the first in {bad.name}, {bad.first_problem}. "
            "See `melo quarantine list`.",
            err=True,
        )
        if not lenient:
            raise typer.Exit(2)
