"""`melo bench ingest|kill|contention|product|gate`: the pipeline around the editor."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.commands.backbone import chosen_backbone
from benchmarks.commands.record import (
    CACHE,
    Cache,
    EditSet,
    EditSets,
    HomesBackbone,
    Out,
    Seed,
    Traffic,
    finish,
)
from console.context import BACKBONES


def ingest(
    ctx: typer.Context,
    rows: Annotated[int, typer.Option(min=10, help="Lines to take in.")] = 1_000_000,
    shape_rows: Annotated[
        int, typer.Option(min=10, help="Rows of each other tool's export to take in.")
    ] = 100_000,
    out: Out = None,
) -> None:
    """Reports a second into the ledger, new and again; memory; cost at ten times the size."""
    from benchmarks.ingest import bench

    finish(ctx, bench(rows, shape_rows), out)


def kill(
    ctx: typer.Context,
    kills: Annotated[int, typer.Option(min=1, help="How often a process is killed.")] = 30,
    lines: Annotated[int, typer.Option(min=100, help="Lines of the long file.")] = 40_000,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Kill what ingests and what plans while others write; then count every line."""
    from benchmarks.kill import kill as killed

    figures = killed(kills, lines, seed)
    finish(ctx, figures, out, seed=seed)
    if figures["problems"]:
        raise typer.Exit(1)


def contention(
    ctx: typer.Context,
    processes: Annotated[int, typer.Option(min=1, help="Writers at once.")] = 8,
    transactions: Annotated[int, typer.Option(min=1, help="Of each writer.")] = 200,
    out: Out = None,
) -> None:
    """Many writers on one file: none lost, none doubled, none fails."""
    from benchmarks.contention import contend

    figures = contend(processes, transactions)
    finish(ctx, figures, out)
    if figures["lost"] or figures["doubled"] or figures["failed"]:
        raise typer.Exit(1)


def product(
    ctx: typer.Context,
    data: EditSet,
    backbone: Annotated[str, typer.Option(help=BACKBONES)] = "smollm2",
    limit: Annotated[int, typer.Option(min=4, help="Report the first N rows.")] = 100,
    no_subject: Annotated[
        bool, typer.Option("--no-subject", help="Report without subjects.")
    ] = False,
    traffic: Traffic = None,
    out: Out = None,
) -> None:
    """Reports to served answers by the documented commands alone, asked with openai's client."""
    from benchmarks.product import bench
    from benchmarks.progress import console_progress

    with console_progress() as progress:
        figures = bench(
            data, backbone, limit=limit, no_subject=no_subject, traffic=traffic, progress=progress
        )
    finish(ctx, figures, out, settings={"limit": limit, "no_subject": no_subject})


def gate(
    ctx: typer.Context,
    probes: Annotated[
        int | None, typer.Option(min=100, help="Probes of the large gate, 100,000 without --data.")
    ] = None,
    edits: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of the champion, 1,000 where not said; of a job without --probes, 50."
        ),
    ] = None,
    new: Annotated[int, typer.Option(min=1, help="Edits that the candidate adds.")] = 50,
    data: EditSets = None,
    backbone: HomesBackbone = None,
    cache: Cache = CACHE,
    uncaught: Annotated[
        bool, typer.Option("--uncaught", help="No probe is about any edit: time and memory alone.")
    ] = False,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove", help="With --data: as --full says? Faults caught, clean ones passed?"
        ),
    ] = False,
    spoiled: Annotated[
        bool, typer.Option("--spoiled", help="With --data: three reports more that must not serve.")
    ] = False,
    clean: Annotated[int, typer.Option(min=0, help="Clean gates of --prove.")] = 20,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Gating by the index against generating every answer anew: speed, growth, sameness.

    With --data and without --probes: what it costs to gate one job of edits on this backbone.
    """
    from benchmarks import gate_job, gate_proof, gate_uncaught
    from benchmarks.gate import bench
    from benchmarks.progress import console_progress

    path = chosen_backbone(ctx, backbone)
    if uncaught:
        finish(ctx, gate_uncaught.bench(probes or 1_000_000, edits or 1000, new, path), out)
        return
    if data and prove:
        with console_progress() as progress:
            figures = gate_proof.bench(data[0], edits or 100, clean, path, cache, seed, progress)
        finish(ctx, figures, out, seed=seed)
        sure = figures["identical"] and not figures["missed"] and not figures["clean_failures"]
        raise typer.Exit(0 if sure else 1)
    if data and probes is None:
        with console_progress() as progress:
            figures = gate_job.bench(
                data[0], edits or 50, path, cache, spoiled=spoiled, progress=progress
            )
        finish(ctx, figures, out, seed=seed)
        return
    with console_progress() as progress:
        figures = bench(
            probes or 100_000,
            edits=edits or 1000,
            new=new,
            data=data or (),
            backbone_path=path,
            cache=cache,
            seed=seed,
            progress=progress,
        )
    finish(ctx, figures, out, seed=seed)
    if not figures["identical"]:
        raise typer.Exit(1)
