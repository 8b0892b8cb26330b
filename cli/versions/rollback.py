"""`melo rollback`: an earlier version serves again, at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.context import Json, Why, new_app, state, user
from console.output import print_json

app = new_app()


@app.command()
def rollback(
    ctx: typer.Context,
    version: Annotated[
        str | None, typer.Argument(help="A version, or base; none: the champion before.")
    ] = None,
    reason: Why = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Let an earlier version serve again, at once; base: the backbone without any edit."""
    from execution.lineage import resolve
    from tasks.rollback import roll_back

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        chosen = resolve(ledger, version) if version else None
        done = roll_back(here.context(ledger), chosen, actor=user(), reason=reason)
    tell(done, as_json)


def tell(done: Any, as_json: bool) -> None:
    """Which version serves now."""
    if as_json:
        print_json(done)
        return
    typer.echo(f"{done.version[:12]} serves now; before: {(done.before or 'none')[:12]}.")
    if done.superseded:
        typer.echo(f"{len(done.superseded)} edits no longer serve. See `melo edits list`.")
