"""`melo revoke`: take edits, or all that a source alone stands behind, out of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.context import Json, new_app, state, user
from console.output import print_json

if TYPE_CHECKING:
    from ledger import Ledger

app = new_app()


@app.command()
def revoke(
    ctx: typer.Context,
    what: Annotated[
        list[str], typer.Argument(help="Ids or prefixes of edits, or names of sources.")
    ],
    reason: Annotated[str, typer.Option(help="Kept on record.")] = "revoked by hand",
    as_json: Json = False,
) -> None:
    """Take edits back: a new version without them, gated and promoted. Nothing is trained.

    Of a source, those edits are revoked that no other source stands behind; `melo sources block`
    also refuses what it says from then on.
    """
    from console.progress import shown
    from tasks.revoke import revoke as revoke_edits

    here = state(ctx)
    with here.ledger(create=False) as ledger, shown(quiet=as_json):
        edits = _edits(ledger, what)
        done = revoke_edits(here.context(ledger), edits, actor=user(), reason=reason)
    if as_json:
        print_json(done)
        return
    if done.ended:
        typer.echo(f"{len(done.ended)} ended before they were in the model.")
    if done.version:
        typer.echo(f"{len(done.removed)} taken out; version {done.version[:12]} serves now.")


def _edits(ledger: Ledger, what: list[str]) -> list[str]:
    """The edits that are meant; a name that fits an edit and a source is refused."""
    from console.errors import UsageProblem
    from ledger import UnknownId

    sources = {source.name for source in ledger.sources.all()}
    edits: list[str] = []
    for name in what:
        try:
            edit_id = ledger.edits.get(name).id
        except UnknownId:
            if name not in sources:
                raise UnknownId(
                    f"{name!r} is no edit's id and no source. See `melo edits list` and "
                    "`melo sources list`."
                ) from None
            from_source = ledger.sources.only_from(name)
            if not from_source:
                raise UsageProblem(
                    f"no edit in use or waiting stands on source {name} alone."
                ) from None
            edits += from_source
        else:
            if name in sources:
                raise UsageProblem(f"{name!r} is an edit and a source; give the edit's whole id.")
            edits.append(edit_id)
    return list(dict.fromkeys(edits))
