"""`melo bench serve` and `fuzz`: what runs as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.backbone import chosen_backbone
from benchmarks.commands.record import CACHE, Cache, EditSets, HomesBackbone, Out, Seed, finish


def serve(
    ctx: typer.Context,
    edits: Annotated[int, typer.Option(min=1, help="Edits of the version.")] = 200,
    clients: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each server, each round.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 5,
    data: EditSets = None,
    backbone: HomesBackbone = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the weights, as bfloat16; none: as they are stored.")
    ] = None,
    mlflow: Annotated[bool, typer.Option(help="Also `mlflow models serve`.")] = True,
    peer: Annotated[bool, typer.Option(help="Also `transformers serve`, of a chat model.")] = True,
    restarts: Annotated[bool, typer.Option(help="Also kill it and start it again.")] = True,
    compared: Annotated[
        int, typer.Option(min=0, help="Answers compared with model.generate's, of a chat model.")
    ] = 200,
    traffic: Annotated[
        Path | None,
        typer.Option(help="Prompts for these, JSON lines; none: synthetic ones.", exists=True),
    ] = None,
    cache: Cache = CACHE,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """`melo serve` with edits against the same without, and against the servers people have."""
    from benchmarks.progress import console_progress
    from benchmarks.serve import ServePlan, bench

    path = chosen_backbone(ctx, backbone)
    with console_progress() as progress:
        plan = ServePlan(
            backbone=path,
            cache=cache,
            edits=edits,
            clients=clients,
            seconds=seconds,
            rounds=rounds,
            compared=compared,
            data=tuple(data or ()),
            traffic=traffic,
            dtype=dtype,
            seed=seed,
            mlflow=mlflow,
            peer=peer,
            restarts=restarts,
        )
        record = bench(plan, progress)
    finish(ctx, record, out, seed=seed)
    if any(server["failed"] for server in record["servers"].values()):
        raise typer.Exit(1)


def fuzz(
    ctx: typer.Context,
    requests: Annotated[int, typer.Option(min=10, help="How many.")] = 10_000,
    edits: Annotated[int, typer.Option(min=1, help="Edits of the version.")] = 20,
    chats: Annotated[
        float, typer.Option(min=0, max=1, help="Share that goes to the chat routes.")
    ] = 0.35,
    backbone: HomesBackbone = None,
    cache: Cache = CACHE,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Send `melo serve` nonsense: no 5xx, no hang, no growth."""
    from benchmarks.fuzz import ALLOWED_GROWTH_MB, bench
    from benchmarks.progress import console_progress

    path = chosen_backbone(ctx, backbone)
    with console_progress() as progress:
        record = bench(
            requests,
            backbone_path=path,
            cache=cache,
            edits=edits,
            chats=chats,
            seed=seed,
            progress=progress,
        )
    finish(ctx, record, out, seed=seed)
    bad = record["server_errors"] or record["hangs"] or not record["still_answers"]
    if bad or record["memory_growth_mb"] > ALLOWED_GROWTH_MB:
        raise typer.Exit(1)
