"""`melo quarantine`: lines that can't be used."""

from __future__ import annotations

from typing import Annotated

import typer

from console.context import Json, new_app, state
from console.output import print_json, print_table, short

app = new_app(no_args_is_help=True)


@app.callback()
def _quarantine() -> None:
    """Lines that can't be used, with the reason; nothing is thrown away."""


@app.command("list")
def list_lines(
    ctx: typer.Context,
    limit: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    as_json: Json = False,
) -> None:
    """Every quarantined line: file, line, reason, raw text."""
    with state(ctx).ledger(create=False) as ledger:
        lines = ledger.quarantine.find(limit=limit)
    if as_json:
        print_json(lines)
        return
    print_table(
        ("file", "line", "reason", "raw"),
        [(q.file, q.line, q.reason, short(q.raw)) for q in lines],
    )


@app.command()
def retry(
    ctx: typer.Context,
    preset: Annotated[str | None, typer.Option(help="The shape of the lines.")] = None,
    as_json: Json = False,
) -> None:
    """Judge them again, after a setting or a preset was changed."""
    from tasks.ingest import retry_quarantined

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        left = retry_quarantined(here.context(ledger), preset=preset)
        remaining = len(ledger.quarantine.find())
    if as_json:
        print_json({"left": left, "remaining": remaining})
    else:
        typer.echo(f"{left} lines left the quarantine, {remaining} remain.")
