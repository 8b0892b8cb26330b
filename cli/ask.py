"""`melo ask`: one question to a version, the champion or the backbone."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from cli.context import Json, new_app, print_json, state

app = new_app()


@app.command()
def ask(
    ctx: typer.Context,
    prompt: Annotated[str, typer.Argument(help="The question.")],
    version: Annotated[
        str, typer.Option(help="champion, candidate, previous, base, or an id.")
    ] = "champion",
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which edit answered, or that none did.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask a version, the champion or the backbone."""
    from tasks.versions import BASE, open_editor, resolve

    here = state(ctx)
    chosen = BASE
    if version != BASE:
        with here.ledger(create=False) as ledger:
            chosen = resolve(ledger, version)
    editor = open_editor(here.settings, chosen)
    answer = editor.answer([prompt], base=chosen == BASE)[0]
    route = answer.route
    if as_json:
        print_json(
            {
                "prompt": prompt,
                "answer": answer.text,
                "version": chosen,
                "edit": answer.edit,
                "block": route.block,
                "distance": None if math.isnan(route.distance) else route.distance,
                "radius": None if math.isnan(route.radius) else route.radius,
                "nearest": route.nearest,
            }
        )
        return
    typer.echo(answer.text)
    if not explain:
        return
    if answer.edit is not None:
        typer.echo(
            f"edit {answer.edit}, block {route.block}, "
            f"distance {route.distance:.4f} within radius {route.radius:.4f}"
        )
    elif route.nearest is not None:
        typer.echo(
            f"no edit: the nearest, {route.nearest}, lies {route.distance:.4f} away, "
            f"outside its radius {route.radius:.4f}; the backbone answered"
        )
    else:
        typer.echo("no edit is about it; the backbone answered")
