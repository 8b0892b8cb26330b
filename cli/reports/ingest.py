"""`melo ingest`: files, folders and globs into the ledger."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from console.context import Json, new_app, state
from console.output import print_json, print_table

if TYPE_CHECKING:
    from execution.progress import Progress
    from tasks.ingest import IngestOutcome

app = new_app()


@app.command()
def ingest(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, globs or mlflow:EXPERIMENT.")
    ] = None,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Take what waits in the home's inbox.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay and take whatever arrives in the inbox.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Who reports; overrides what lines say themselves.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Names of the fields in the lines.")] = None,
    shape: Annotated[
        str | None, typer.Option(help="The tool that wrote it; else the first row tells.")
    ] = None,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="List the shapes that are known, and end.")
    ] = False,
    encoding: Annotated[
        str | None, typer.Option(help="Code page of texts that are no UTF-8, as cp1252.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Count a file again that was read before.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Exit 0 although lines were quarantined.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take error reports and fresh facts into the ledger.

    Exit code 2 where a line had to be quarantined, unless it names no error, as a thumbs-up does; all
    others are recorded all the same.
    """
    from console.errors import UsageProblem
    from tasks.ingest import IngestOptions, IngestOutcome, ingest_inbox, ingest_paths
    from tasks.ingest.inbox import watch_inbox

    if shapes:
        _list_shapes(as_json)
        return
    here = state(ctx)
    if not (paths or inbox or watch):
        raise UsageProblem("give a file, a folder or a glob, or --inbox.")
    settings = here.settings  # a wrong one is told before anything is made
    is_new = not settings.paths.ledger.exists()
    with here.ledger() as ledger, _bar(hidden=as_json) as progress:
        outcome = IngestOutcome()
        if paths:
            options = IngestOptions(source, preset, shape, again, encoding)
            outcome = ingest_paths(here.context(ledger), paths, options, progress=progress)
        if inbox:
            outcome.files += ingest_inbox(here.context(ledger), progress).files
        if is_new and not as_json:
            typer.echo(f"{settings.home.absolute()} is a new home.")
        if watch:
            for taken in watch_inbox(here.context(ledger)):
                _report(taken, as_json)
            return
    _report(outcome, as_json)
    if outcome.total("quarantined") > outcome.total("passed_over") and not lenient:
        raise typer.Exit(2)


def _list_shapes(as_json: bool) -> None:
    from tasks.ingest.shapes import shapes

    rows = [(shape.name, shape.tool, shape.reads) for shape in shapes()]
    if as_json:
        print_json([dict(zip(("name", "tool", "reads"), row, strict=True)) for row in rows])
    else:
        print_table(("name", "tool", "reads"), rows)


def _report(outcome: IngestOutcome, as_json: bool) -> None:
    names = ("lines", "accepted", "duplicates", "quarantined", "contradictions")
    passed_over = outcome.total("passed_over")
    if as_json:
        totals = {name: outcome.total(name) for name in names}
        print_json({**totals, "passed_over": passed_over, "files": outcome.files})
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
    if passed_over and not as_json:
        typer.echo(f"{passed_over} of the quarantined lines name no error, as a thumbs-up does.")
    for file in outcome.files:
        if file.unanswered and file.unread:
            unread = ", ".join(name[:40] for name in file.unread[:12])
            typer.echo(
                f"melo: {file.name}: no answer in {file.unanswered} of {file.lines} lines; columns not "
                f"read: {unread}. Name them in a preset (docs/ledger.md).",
                err=True,
            )
    bad = next((file for file in outcome.files if file.quarantined > file.passed_over), None)
    if bad is not None:
        typer.echo(
            f"melo: {outcome.total('quarantined') - passed_over} of {outcome.total('lines')} lines were "
            f"quarantined, the first in {bad.name}, {bad.first_problem}. "
            "See `melo quarantine list`.",
            err=True,
        )


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, for each file by bytes."""
    from rich import progress as rich

    with rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn("{task.percentage:>3.0f}%"),
        rich.TimeRemainingColumn(),
        transient=True,
        disable=hidden or not sys.stderr.isatty(),
    ) as bar:
        shown: dict[str, rich.TaskID] = {}

        def show(name: str, read: int, size: int) -> None:
            if name not in shown:
                shown[name] = bar.add_task(name, total=size)
            bar.update(shown[name], completed=read)

        yield show
