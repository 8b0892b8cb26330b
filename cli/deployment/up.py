"""`melo up`: everything that a deployment on this machine needs."""

from __future__ import annotations

from typing import Annotated

import typer

from config import Settings
from console.context import Json, new_app, state
from console.output import print_json, print_table

app = new_app()


@app.command()
def up(
    ctx: typer.Context,
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Of Prefect.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Of MLflow.")] = 5000,
    serve_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the service; none: serve.port, 8080; 0: any."),
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the pages; none: dashboard.port, 8501; 0: any."),
    ] = None,
    apply_to: Annotated[
        str | None,
        typer.Option(help="Start nothing: apply the files to the Prefect API at this URL."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start servers and workers on this machine, on loopback, and apply the schedules."""
    from deployment.environment import process_environment
    from deployment.provisioning import apply
    from deployment.services import Services

    here = state(ctx)
    if apply_to is not None:
        server = apply_to.rstrip("/").removesuffix("/api")
        page = here.settings.registry.tracking_uri or ""
        environment = process_environment(here.settings, server, page)
        apply(here.settings, f"{server}/api", environment, pools=())
        typer.echo(f"prefect.yaml and automations.yaml are applied at {server}.")
        return
    with here.ledger():
        here.settings.paths.inbox.mkdir(exist_ok=True)
    services = Services(
        here.settings,
        prefect_port=prefect_port,
        mlflow_port=mlflow_port,
        serve_port=serve_port,
        dashboard_port=dashboard_port,
    )
    started = services.up(lambda text: None if as_json else typer.echo(text, err=True))
    if as_json:
        print_json(started)
        return
    print_table(
        ("service", "process", "where", "log"),
        [(s.name, s.pid, s.url or "-", s.log) for s in started],
    )
    if any(service.name == "serve" for service in started) and not _has_a_key(here.settings):
        typer.echo("\nThe service answers nobody yet: make a key with `melo keys add NAME`.")
    typer.echo(f"\nPut reports into {here.settings.paths.inbox}; end it all with `melo down`.")


def _has_a_key(settings: Settings) -> bool:
    """Whether anybody may ask the service."""
    from serving.keys import KeyStore

    return settings.serve.auth == "none" or any(
        key.valid for key in KeyStore(settings.paths.keys).entries()
    )
