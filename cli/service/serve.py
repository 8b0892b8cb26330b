"""`melo serve`: the champion over HTTP."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from console import collection
from console.context import new_app, state

app = new_app()


@app.command()
def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="None: serve.host, 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="None: serve.port, 8080; 0: any.")
    ] = None,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Without keys, on loopback.")] = False,
    keys_later: Annotated[
        bool, typer.Option("--keys-later", help="Start without a key; nobody is answered yet.")
    ] = False,
) -> None:
    """Serve the champion over HTTP: OpenAI's interface, with the edit behind each answer."""
    with collection.paused():
        from execution.versions import Versions
        from registry.store import Registry
        from serving.server import serve as run
        from serving.service import AnsweringService

    here = state(ctx)
    here.at_home()
    settings = here.settings
    options = {"host": host, "port": port, "auth": "none" if no_keys else None}
    overrides = {name: value for name, value in options.items() if value is not None}
    settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=overrides)})
    versions = Versions(settings)
    versions.backbone_path()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service = AnsweringService(settings, lambda: versions.backbone, Registry(settings).name_for)
    run(service, keys_later=keys_later)
