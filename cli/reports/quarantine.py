"""`melo quarantine`: lines that can't be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.printing import Columns, print_outcome, print_records
from console.context import Json, new_app, state
from console.output import short

if TYPE_CHECKING:
    from ledger import Quarantined

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
    columns: Columns[Quarantined] = {
        "file": lambda line: line.file,
        "line": lambda line: line.line,
        "reason": lambda line: line.reason,
        "raw": lambda line: short(line.raw),
    }
    print_records(lines, columns, as_json)


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
        remaining = ledger.quarantine.find()
    sentence = f"{left} lines left the quarantine, {len(remaining)} remain."
    table = next((line.file for line in remaining if "header has no column" in line.reason), None)
    if preset and table is not None:
        sentence += (
            f" Of {table} the header does not fit the preset, or was not kept by an earlier release: "
            f"`melo ingest {table} --again --preset {preset}` reads it anew, and settles these lines."
        )
    print_outcome({"left": left, "remaining": len(remaining)}, sentence, as_json)
