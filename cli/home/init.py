"""`melo init`: make a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.model.backbone import name_in_settings
from config.template import TEMPLATE
from console.context import BACKBONES, new_app, state
from console.errors import UsageProblem

if TYPE_CHECKING:
    from config import Settings

app = new_app()


@app.command()
def init(
    ctx: typer.Context,
    backbone: Annotated[str | None, typer.Option(help=f"The model to edit: {BACKBONES}.")] = None,
) -> None:
    """Make a home: melo.toml and an empty ledger. What is there is left as it is."""
    here = state(ctx)
    paths = here.settings.paths
    paths.home.mkdir(parents=True, exist_ok=True)
    paths.inbox.mkdir(exist_ok=True)
    if not paths.settings.exists():
        paths.settings.write_text(TEMPLATE, encoding="utf-8")
    if backbone is not None:
        _name_backbone(here.settings, backbone)
    with here.ledger():
        pass
    typer.echo(f"{paths.home} is ready. Next: melo ingest PATH, then melo run.")


def _name_backbone(settings: Settings, backbone: str) -> None:
    """Name the backbone in melo.toml. Raises UsageProblem where another one is named already."""
    from execution.backbone.locate import NAMED

    local = Path(backbone).expanduser()
    path = str(local.absolute()) if backbone not in NAMED and local.exists() else backbone
    before = settings.backbone.path
    if before is None:
        name_in_settings(settings, path)
    elif before != path:
        raise UsageProblem(
            f'{settings.paths.settings} names the backbone "{before}" already; versions made on it '
            "can't be used on another. Make a second home, or change the file by hand."
        )
