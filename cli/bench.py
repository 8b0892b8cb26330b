"""`melo bench`: the proof. Each benchmark is imported when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import new_app

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
