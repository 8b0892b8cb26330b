"""`melo bench`: the proof. Each benchmark is imported when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import new_app, state

app = new_app(no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="Also write the record to this file.")]


@app.callback()
def _bench() -> None:
    """Measure quality and speed; each prints one JSON record."""


def finish(record: dict[str, Any], out: Path | None) -> None:
    """Print a record, and keep it where asked."""
    text = json.dumps(record, indent=2)
    typer.echo(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


@app.command()
def ingest(
    rows: Annotated[int, typer.Option(min=10, help="Lines to take in.")] = 1_000_000,
    out: Out = None,
) -> None:
    """Reports a second into the ledger, new and again; memory; cost at ten times the size."""
    from benchmarks.ingest import bench

    finish(bench(rows), out)


@app.command()
def edit(
    data: Annotated[Path, typer.Option(help="Edit set, JSON lines.", exists=True, dir_okay=False)],
    limit: Annotated[int | None, typer.Option(min=4, help="Edit the first N rows only.")] = None,
    methods: Annotated[str, typer.Option(help="Any of melo,paper.")] = "melo,paper",
    backbone: Annotated[Path | None, typer.Option(help="Use this backbone folder.")] = None,
    cache: Annotated[Path, typer.Option(help="Where backbones and projections are kept.")] = Path(
        ".melo/cache/bench"
    ),
    seed: int = 0,
    out: Annotated[Path | None, typer.Option("--json", help="Also write the record here.")] = None,
) -> None:
    """Edit quality of the final state by free decoding, and speed, against MELO as published."""
    from benchmarks.edit import bench
    from benchmarks.progress import console_progress

    chosen = tuple(m.strip() for m in methods.split(",") if m.strip())
    with console_progress() as progress:
        record = bench(
            data,
            cache,
            limit=limit,
            methods=chosen,
            backbone_path=backbone,
            seed=seed,
            progress=progress,
        )
    finish(record, out)


@app.command()
def kill(
    kills: Annotated[int, typer.Option(min=1, help="How often a process is killed.")] = 30,
    lines: Annotated[int, typer.Option(min=100, help="Lines of the long file.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    out: Out = None,
) -> None:
    """Kill what ingests and what plans while others write; then count every line."""
    from benchmarks.kill import kill as killed

    record = killed(kills, lines, seed)
    finish(record, out)
    if record["problems"]:
        raise typer.Exit(1)


@app.command()
def contention(
    processes: Annotated[int, typer.Option(min=1, help="Writers at once.")] = 8,
    transactions: Annotated[int, typer.Option(min=1, help="Of each writer.")] = 200,
    out: Out = None,
) -> None:
    """Many writers on one file: none lost, none doubled, none fails."""
    from benchmarks.contention import contend

    record = contend(processes, transactions)
    finish(record, out)
    if record["lost"] or record["doubled"] or record["failed"]:
        raise typer.Exit(1)


@app.command()
def gate(
    ctx: typer.Context,
    probes: Annotated[int, typer.Option(min=100, help="Probes of the large gate.")] = 100_000,
    edits: Annotated[int, typer.Option(min=1, help="Edits of the champion.")] = 1000,
    new: Annotated[int, typer.Option(min=1, help="Edits that the candidate adds.")] = 50,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Edit sets, JSON lines; none: made-up facts.", exists=True),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="None: the home's.")] = None,
    cache: Annotated[Path, typer.Option(help="Where trained versions are kept.")] = Path(
        ".melo/cache/bench"
    ),
    affordable: Annotated[
        float, typer.Option(min=0, help="Seconds that answering all probes once may take.")
    ] = 900,
    seed: int = 0,
    out: Out = None,
) -> None:
    """Gating by the index against generating every answer anew: speed, growth, sameness."""
    from benchmarks.gate import bench
    from benchmarks.progress import console_progress
    from tasks.versions import backbone_path

    path = backbone or backbone_path(state(ctx).settings)
    with console_progress() as progress:
        record = bench(
            probes, edits=edits, new=new, data=data or (), backbone_path=path, cache=cache,
            seed=seed, affordable=affordable, progress=progress,
        )  # fmt: skip
    finish(record, out)
    if not record["identical"]:
        raise typer.Exit(1)


@app.command()
def serve(
    ctx: typer.Context,
    edits: Annotated[int, typer.Option(min=1, help="Edits of the version.")] = 200,
    clients: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each server, each round.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 5,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Edit sets, JSON lines; none: made-up facts.", exists=True),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="None: the home's.")] = None,
    mlflow: Annotated[bool, typer.Option(help="Also `mlflow models serve`.")] = True,
    cache: Annotated[Path, typer.Option(help="Where trained versions are kept.")] = Path(
        ".melo/cache/bench"
    ),
    seed: int = 0,
    out: Out = None,
) -> None:
    """`melo serve` with edits against the same without, and against `mlflow models serve`."""
    from benchmarks.progress import console_progress
    from benchmarks.serve import bench
    from tasks.versions import backbone_path

    path = backbone or backbone_path(state(ctx).settings)
    with console_progress() as progress:
        record = bench(
            edits=edits, clients=clients, seconds=seconds, rounds=rounds, data=data or (),
            backbone_path=path, cache=cache, seed=seed, with_mlflow=mlflow, progress=progress,
        )  # fmt: skip
    finish(record, out)
    if any(server["failed"] for server in record["servers"].values()):
        raise typer.Exit(1)


@app.command()
def scale(
    backbone: Annotated[Path, typer.Option(help="A backbone's folder.", exists=True)],
    edits: Annotated[str, typer.Option(help="Numbers of edits.")] = "10,100,1000,10000",
    out: Annotated[Path | None, typer.Option("--json", help="Also write the record here.")] = None,
) -> None:
    """Throughput with no and with every prompt routed, against the bare backbone; memory; opening."""
    from benchmarks.progress import console_progress
    from benchmarks.scale import bench

    with console_progress() as progress:
        record = bench(backbone, [int(n) for n in edits.split(",")], progress)
    finish(record, out)
