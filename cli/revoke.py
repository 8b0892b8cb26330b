"""`melo edits revoke`: take an edit back; the backbone's own answer returns."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from cli.context import Json, print_json, state


def revoke(
    ctx: typer.Context,
    edit_ids: Annotated[list[str], typer.Argument(help="Ids or prefixes of edits.")],
    reason: Annotated[str, typer.Option(help="Kept on record.")] = "revoked by hand",
    as_json: Json = False,
) -> None:
    """Take edits back: a new version without them, gated and promoted. Nothing is trained."""
    from cli.progress import shown
    from tasks.revoke import revoke as revoke_edits

    here = state(ctx)
    with here.ledger(create=False) as ledger, shown(quiet=as_json):
        done = revoke_edits(here.settings, ledger, edit_ids, actor=_who(), reason=reason)
    if as_json:
        print_json(done)
        return
    if done.ended:
        typer.echo(f"{len(done.ended)} ended before being trained.")
    if done.version:
        typer.echo(f"{len(done.removed)} taken out; version {done.version[:12]} serves now.")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"
