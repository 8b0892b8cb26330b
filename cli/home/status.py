"""`melo status`: every input line in exactly one count."""

from __future__ import annotations

from dataclasses import asdict

import typer

from console.context import Json, new_app, state
from console.output import print_json, print_table

app = new_app()


@app.command()
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Where every input line is: the counts add up to the lines."""
    here = state(ctx)
    with here.reader() as ledger:
        counts = ledger.counts()
        alike, groups = ledger.deduplication.counts()
    if as_json:
        print_json({**asdict(counts), "similar": {"edits": alike, "groups": groups}})
        return
    print_table(("lines", str(counts.lines)), list(counts.counts.items()))
    if counts.contradictions:
        typer.echo()
        print_table(("contradictions decided by", ""), list(counts.contradictions.items()))
    if groups:
        typer.echo(f"\n{alike} edits ask {groups} questions in other words: `melo edits similar`")
    typer.echo(f"\nversions {counts.versions}, champion {counts.champion or 'none'}")
