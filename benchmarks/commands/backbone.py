"""What a benchmark opens for the value of its `--backbone`."""

from __future__ import annotations

import typer

from console.context import state


def located(backbone: str | None) -> str | None:
    """What to open for the value of `--backbone`: a folder or a hub id; None where none was given."""
    from execution.backbone.locate import locate_backbone

    return locate_backbone(backbone) if backbone else None


def chosen_backbone(ctx: typer.Context, backbone: str | None) -> str:
    """The same, or the home's backbone where none was given."""
    from execution.versions import Versions

    return located(backbone) or Versions(state(ctx).settings).backbone_path()
