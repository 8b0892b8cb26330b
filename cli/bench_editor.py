"""`melo bench edit|scale`: the editor, its quality and its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.bench_record import Out, finish

Cache = Annotated[Path, typer.Option(help="Where backbones and projections are kept.")]
CACHE = Path(".melo/cache/bench")


def edit(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(help="Edit set, JSON lines.", exists=True, dir_okay=False)],
    limit: Annotated[int | None, typer.Option(min=4, help="Edit the first N rows only.")] = None,
    methods: Annotated[str, typer.Option(help="Any of melo,paper.")] = "melo,paper",
    backbone: Annotated[Path | None, typer.Option(help="Use this backbone folder.")] = None,
    cache: Cache = CACHE,
    seed: int = 0,
    out: Out = None,
) -> None:
    """Edit quality of the final state by free decoding, and speed, against MELO as published."""
    from benchmarks.edit import bench
    from benchmarks.progress import console_progress

    chosen = tuple(m.strip() for m in methods.split(",") if m.strip())
    with console_progress() as progress:
        figures = bench(
            data, cache, limit=limit, methods=chosen, backbone_path=backbone, seed=seed,
            progress=progress,
        )  # fmt: skip
    finish(ctx, figures, out, seed=seed)


def scale(
    ctx: typer.Context,
    backbone: Annotated[Path, typer.Option(help="A backbone's folder.", exists=True)],
    edits: Annotated[str, typer.Option(help="Numbers of edits.")] = "10,100,1000,10000",
    out: Out = None,
) -> None:
    """Throughput with no and with every prompt routed, against the bare backbone; memory; opening."""
    from benchmarks.progress import console_progress
    from benchmarks.scale import bench

    with console_progress() as progress:
        figures = bench(backbone, [int(n) for n in edits.split(",")], progress)
    finish(ctx, figures, out)
