"""How a benchmark's command ends: its record is saved, its figures and the file's name are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from console.context import BACKBONES

RESULTS = "benchmarks.results"  # where the folder of records stands in a context's `meta`
CACHE = Path(".melo/cache/bench")
Cache = Annotated[Path, typer.Option(help="Where backbones, projections and versions are kept.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
EditSet = Annotated[Path, typer.Option(help="Edit set, JSON lines.", exists=True, dir_okay=False)]
EditSets = Annotated[
    list[Path] | None,
    typer.Option(help="Edit sets, JSON lines; none: synthetic facts.", exists=True),
]
Traffic = Annotated[
    Path | None, typer.Option(help="Prompts that no edit is about.", exists=True, dir_okay=False)
]
HomesBackbone = Annotated[str | None, typer.Option(help=f"{BACKBONES}; none: the home's.")]
PreparedBackbone = Annotated[
    str | None, typer.Option(help=f"{BACKBONES}; none: prepared from the file.")
]
Out = Annotated[Path | None, typer.Option("--out", "--json", help="Also write the record here.")]


def finish(
    ctx: typer.Context,
    figures: Mapping[str, Any],
    out: Path | None = None,
    *,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> None:
    """Keep the record of this command, print its figures, and write them where asked."""
    from benchmarks.records import append, make_record

    record = make_record(
        str(ctx.info_name), command_line(ctx), figures, seed=seed, settings=settings, device=device
    )
    path = append(record, ctx.meta.get(RESULTS))
    about = {k: v for k, v in record.items() if k != "figures"}
    text = json.dumps({**record["figures"], "record": about}, indent=2)
    typer.echo(text)
    typer.echo(f"kept as {path.parent.name}/{path.name}; `melo bench report` shows it", err=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


def command_line(ctx: typer.Context) -> str:
    """The command as it was given, with files and folders by their names alone."""
    words = ["melo", "bench", str(ctx.info_name)]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        source = ctx.get_parameter_source(name)
        if name in ("out", "cache") or not isinstance(source, Enum) or source.name != "COMMANDLINE":
            continue
        value = ctx.params[name]
        for each in value if isinstance(value, list | tuple) else [value]:
            words.append((parameter.secondary_opts if each is False else parameter.opts)[0])
            if not isinstance(each, bool):
                words.append(Path(each).name if _is_path(each) else str(each))
    return " ".join(words)


def _is_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, str) and Path(value).exists())
