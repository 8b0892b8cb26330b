"""`melo demo`: the whole story on small examples, with real parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.context import Json, State, new_app, state
from console.output import print_json

app = new_app()


@app.command()
def demo(
    ctx: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Where state lives; an earlier demo there is replaced.")
    ] = None,
    beliefs: Annotated[
        Path | None,
        typer.Option(help="Prepare a small backbone that believes this file.", hidden=True),
    ] = None,
    as_json: Json = False,
) -> None:
    """Reports and facts in, gated and registered versions out, one fact renewed, one edit revoked.

    Everything is real: SmolLM2, a chat model that is wrong in its own words, DuckDB, MELO, the gate,
    MLflow, Prefect.
    """
    from benchmarks.demo.home import PREPARED, fresh_home
    from benchmarks.demo.report import print_report
    from benchmarks.demo.story import Story
    from console.progress import shown

    here = State(home) if home is not None else state(ctx)
    settings = fresh_home(here.home, PREPARED if beliefs else "smollm2")
    with shown(quiet=as_json):
        story = Story(settings, say=(lambda text: None) if as_json else _say, beliefs=beliefs)
        result = story.run()
    if as_json:
        print_json(result)
        return
    print_report(result, str(here.home))


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(f"[bold cyan]●[/] {text}", highlight=False)
