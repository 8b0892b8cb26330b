"""`melo ingest`: files, folders and globs into the ledger."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import Json, new_app, print_json, print_table, state

if TYPE_CHECKING:
    from tasks.ingest import IngestOutcome
    from tasks.ingest.step import Progress

app = new_app()


@app.command()
def ingest(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Files, folders or globs.")] = None,
    inbox: Annotated[
        bool, typer.Option("--inbox", help="Take what waits in the home's inbox.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay and take whatever arrives in the inbox.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Who reports; overrides what lines say themselves.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="The shape of the lines.")] = None,
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

    Exit code 2 where a line had to be quarantined; all others are recorded all the same.
    """
    from cli.errors import UsageProblem
    from tasks.ingest import IngestOutcome, ingest_inbox, ingest_paths
    from tasks.ingest.inbox import watch_inbox

    here = state(ctx)
    if not (paths or inbox or watch):
        raise UsageProblem("give a file, a folder or a glob, or --inbox.")
    here.settings  # noqa: B018  a wrong setting is told before anything is made
    with here.ledger() as ledger, _bar(hidden=as_json) as progress:
        outcome = IngestOutcome()
        if paths:
            outcome = ingest_paths(
                ledger, paths, here.settings, progress, source=source, preset=preset, again=again,
                encoding=encoding,
            )  # fmt: skip
        if inbox:
            outcome.files += ingest_inbox(ledger, here.settings, progress).files
        if watch:
            for taken in watch_inbox(ledger, here.settings):
                _report(taken, as_json)
            return
    _report(outcome, as_json)
    if outcome.total("quarantined") and not lenient:
        raise typer.Exit(2)


def _report(outcome: IngestOutcome, as_json: bool) -> None:
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


@contextlib.contextmanager
def _bar(*, hidden: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, for each file by bytes."""
    from rich import progress as rich

    with rich.Progress(
        rich.TextColumn("{task.description}"), rich.BarColumn(),
        rich.TextColumn("{task.percentage:>3.0f}%"), rich.TimeRemainingColumn(),
        transient=True, disable=hidden or not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        shown: dict[str, rich.TaskID] = {}

        def show(name: str, read: int, size: int) -> None:
            if name not in shown:
                shown[name] = bar.add_task(name, total=size)
            bar.update(shown[name], completed=read)

        yield show
