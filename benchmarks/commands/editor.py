"""`melo bench edit|keys|matching|scale|gpu|profile`: the editor, its quality and its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.backbone import located
from benchmarks.commands.record import (
    CACHE,
    Cache,
    EditSet,
    Out,
    PreparedBackbone,
    Traffic,
    finish,
)
from console.context import BACKBONES
from console.errors import UsageProblem
from console.output import print_table


def edit(
    ctx: typer.Context,
    data: EditSet,
    first: Annotated[int, typer.Option(min=0, help="Rows that are passed over.")] = 0,
    limit: Annotated[int | None, typer.Option(min=4, help="Edit the first N rows only.")] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Any of melo,oracle,paper,grace,lora,finetune,ultraedit,retrieval,retrieval-5,none; all."
        ),
    ] = "melo,paper",
    backbone: PreparedBackbone = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, counted from --seed.")] = 1,
    seed: Annotated[int, typer.Option(help="The first one.")] = 0,
    baseline_limit: Annotated[
        int, typer.Option(min=0, help="Edits that other methods make at most; 0: all.")
    ] = 100,
    slow_limit: Annotated[
        int, typer.Option(min=0, help="Edits that paper and grace make at most; 0: as others.")
    ] = 0,
    practice: Annotated[
        Path | None,
        typer.Option(
            help="Another edit set, which the key projection learns from as well: an experiment.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    traffic: Traffic = None,
    no_subject: Annotated[
        bool, typer.Option("--no-subject", help="Make the edits without their subjects.")
    ] = False,
    revocations: Annotated[
        int, typer.Option(min=0, help="Edits of melo revoked one by one after the last, at most.")
    ] = 200,
    protocol: Annotated[
        str | None,
        typer.Option(help="questions, hallucination or classification; told from the file."),
    ] = None,
    marks: Annotated[
        str, typer.Option(help="Score after so many edits as well; empty: at the end only.")
    ] = "1,10,100,1000",
    cache: Cache = CACHE,
    out: Out = None,
) -> None:
    """Edit quality of the final state by free decoding, and speed, against other methods."""
    from benchmarks.edit import bench, read_prompts
    from benchmarks.progress import console_progress
    from benchmarks.protocol import read_rows
    from benchmarks.sequence import Options

    with console_progress() as progress:
        options = Options(
            cache,
            methods=_names(methods),
            limit=limit,
            baseline_limit=baseline_limit,
            slow_limit=slow_limit,
            backbone=located(backbone),
            practice=tuple(read_rows(practice)) if practice else (),
            traffic=read_prompts(traffic) if traffic else (),
            no_subject=no_subject,
            revocations=revocations,
            marks=tuple(map(int, _names(marks))),
            progress=progress,
        )
        seed_range = range(seed, seed + seeds)
        figures = bench(data, options, first=first, seeds=seed_range, protocol=protocol)
    settings = {"limit": limit, "seeds": seeds, "baseline_limit": baseline_limit}
    if first:
        settings["first"] = first
    if slow_limit:
        settings["slow_limit"] = slow_limit
    finish(ctx, figures, out, seed=seed, settings=settings, device=figures.get("device"))


def keys(
    ctx: typer.Context,
    data: EditSet,
    backbone: Annotated[str, typer.Option(help=BACKBONES)] = "smollm2",
    first: Annotated[int, typer.Option(min=0, help="Rows that are passed over.")] = 0,
    limit: Annotated[int, typer.Option(min=4, help="Rows that are looked at.")] = 100,
    learned: Annotated[
        str, typer.Option(help="Readers whose projection is learned as well.")
    ] = "sentence-encoder",
    pairs: Annotated[
        Path | None, typer.Option(help="Write what lies on the wrong side to this file.")
    ] = None,
    cache: Cache = CACHE,
    out: Out = None,
) -> None:
    """How well keys alone tell rephrases from near-misses, by what reads them."""
    from benchmarks.keys import bench

    figures = bench(
        data,
        str(located(backbone)),
        cache,
        first=first,
        limit=limit,
        learned=_names(learned),
        pairs=pairs,
    )
    finish(ctx, figures, out)


def matching(
    ctx: typer.Context,
    data: EditSet,
    backbone: Annotated[str, typer.Option(help=BACKBONES)] = "smollm2",
    first: Annotated[int, typer.Option(min=0, help="Rows that are passed over.")] = 0,
    limit: Annotated[int, typer.Option(min=4, help="Rows that are looked at.")] = 300,
    traffic: Traffic = None,
    cache: Cache = CACHE,
    out: Out = None,
) -> None:
    """What each rule on strings is worth: which prompts fall to which edit without it."""
    from benchmarks.edit import read_prompts
    from benchmarks.matching import bench
    from benchmarks.progress import console_progress

    with console_progress() as progress:
        figures = bench(
            data,
            str(located(backbone)),
            cache,
            first=first,
            limit=limit,
            traffic=read_prompts(traffic) if traffic else (),
            progress=progress,
        )
    finish(ctx, figures, out)


def scale(
    ctx: typer.Context,
    backbone: Annotated[
        str, typer.Option(help="One on this machine: smollm2, a folder, a GGUF file.")
    ],
    edits: Annotated[str, typer.Option(help="Numbers of edits.")] = "10,100,1000,10000",
    out: Out = None,
) -> None:
    """Throughput with no and with every prompt routed, against the bare backbone; memory; opening."""
    from benchmarks.progress import console_progress
    from benchmarks.scale import bench

    folder = Path(str(located(backbone)))
    if not folder.is_dir():
        raise UsageProblem(
            f"{backbone} is no folder on this machine; give smollm2, a folder or a GGUF file."
        )
    with console_progress() as progress:
        figures = bench(folder, [int(n) for n in edits.split(",")], progress)
    finish(ctx, figures, out)


def gpu(
    ctx: typer.Context,
    shapes: Annotated[
        str, typer.Option(help="gpt2-xl, llama-1b; tiny-gpt2, tiny-llama for a trial.")
    ] = "gpt2-xl,llama-1b",
    edits: Annotated[int, typer.Option(min=1, help="In one job.")] = 256,
    paper_edits: Annotated[int, typer.Option(min=1, help="For MELO as published.")] = 20,
    batch: Annotated[int, typer.Option(min=2, help="Prompts at once in serving.")] = 64,
    tokens: Annotated[int, typer.Option(min=8, help="Of every answer.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Of each way of serving.")] = 5,
    out: Out = None,
) -> None:
    """Editing and serving speed on random weights of GPT-2 XL's and Llama 1B's shapes, in bf16."""
    from benchmarks.gpu import GpuLoad, bench, table
    from benchmarks.progress import console_progress

    with console_progress() as progress:
        load = GpuLoad(edits, paper_edits, batch, tokens, rounds)
        figures = bench(_names(shapes), load, progress)
    print_table(("shape", "", "melo", "paper", "bare"), table(figures), figures["device"])
    finish(ctx, figures, out, seed=0, device=figures["device"])


def profile(
    ctx: typer.Context,
    data: EditSet,
    edits: Annotated[int, typer.Option(min=1, help="In one job.")] = 100,
    backbone: PreparedBackbone = None,
    cache: Cache = CACHE,
    out: Out = None,
) -> None:
    """Where the time goes in editing and serving, and how far that is from the floor."""
    from benchmarks.profiles import bench
    from benchmarks.progress import console_progress

    with console_progress() as progress:
        figures = bench(data, cache, edits=edits, backbone=located(backbone), progress=progress)
    finish(ctx, figures, out, seed=0, device=figures["device"])


def _names(listed: str) -> tuple[str, ...]:
    """What a text names, between commas."""
    return tuple(name.strip() for name in listed.split(",") if name.strip())
