"""`melo up`: everything that a deployment on this machine needs."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.context import Json, new_app, print_json, print_table, state

app = new_app()


@app.command()
def up(
    ctx: typer.Context,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Of Prefect.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Of MLflow.")] = 5000,
    apply_to: Annotated[
        str | None,
        typer.Option(help="Start nothing: apply the files to the Prefect API at this URL."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start servers and workers on this machine, on loopback, and apply the schedules."""
    from cli.applied import apply
    from cli.services import Services
    from cli.surroundings import surroundings

    here = state(ctx)
    if apply_to is not None:
        server = apply_to.rstrip("/").removesuffix("/api")
        page = here.settings.registry.tracking_uri or ""
        apply(here.settings, f"{server}/api", surroundings(here.settings, server, page), pools=())
        typer.echo(f"prefect.yaml and automations.yaml are applied at {server}.")
        return
    with here.ledger():
        here.settings.paths.inbox.mkdir(exist_ok=True)
    services = Services(here.settings, prefect_port=prefect_port, mlflow_port=mlflow_port)
    started = services.up(lambda text: None if as_json else typer.echo(text, err=True))
    if as_json:
        print_json(started)
        return
    print_table(
        ("service", "process", "where", "log"),
        [(s.name, s.pid, s.url or "-", s.log) for s in started],
    )
    typer.echo(f"\nPut reports into {here.settings.paths.inbox}; end it all with `melo down`.")
