"""`melo down`: end what `melo up` started, and nothing else."""

from __future__ import annotations

import typer

from console.context import new_app, state

app = new_app()


@app.command()
def down(ctx: typer.Context) -> None:
    """End what `melo up` started in this home, and nothing else."""
    from deployment.services import Services

    ended = Services(state(ctx).settings).down(lambda text: typer.echo(text, err=True))
    typer.echo(f"{ended} processes ended." if ended else "Nothing of this home runs.")
