"""`melo keys`: who may ask the service, report to it, run it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.printing import Columns, print_outcome, print_records
from console.context import Json, new_app, state
from console.output import print_json

if TYPE_CHECKING:
    from serving.keys import Key, KeyStore

app = new_app(no_args_is_help=True)


@app.callback()
def _keys() -> None:
    """Bearer keys of `melo serve`. Only their hashes are kept."""


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Who gets it; the source of its feedback.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="ask, report, review or admin; again for more.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Until it ends; none: never.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, once. Scopes: ask where none is given."""
    entry, key = _store(ctx).add(name, scope or ["ask"], days)
    if as_json:
        print_json({"id": entry.id, "name": name, "scopes": entry.scopes, "key": key})
        return
    typer.echo(key)
    typer.echo(f"Key {entry.id} of {name}: {', '.join(entry.scopes)}. Not shown again.", err=True)


@app.command("list")
def list_keys(ctx: typer.Context, as_json: Json = False) -> None:
    """All keys, without the keys themselves."""
    columns: Columns[Key] = {
        "key": lambda key: key.id,
        "name": lambda key: key.name,
        "scopes": lambda key: ", ".join(key.scopes),
        "made": lambda key: key.made[:19],
        "ends": lambda key: (key.ends or "never")[:19],
        "": lambda key: "" if key.valid else "revoked" if key.revoked else "ended",
    }
    print_records(_store(ctx).entries(), columns, as_json, of=_without_hash)


def _without_hash(key: Key) -> dict[str, object]:
    return {name: value for name, value in asdict(key).items() if name != "sha256"} | {
        "valid": key.valid
    }


@app.command()
def revoke(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A key's id, or a name: all of its keys.")],
    as_json: Json = False,
) -> None:
    """Take a key back; a running service refuses it within a second."""
    gone = _store(ctx).revoke(name)
    ids = [key.id for key in gone]
    print_outcome(ids, f"Revoked: {', '.join(ids)}.", as_json)


def _store(ctx: typer.Context) -> KeyStore:
    from serving.keys import KeyStore

    return KeyStore(state(ctx).settings.paths.keys)
