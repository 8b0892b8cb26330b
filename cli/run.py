"""`melo run`: the main job once, in this process."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import Json, new_app, print_json, print_table, short, state

app = new_app()


@app.command()
def run(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files to take in first; none: the inbox.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The main job once: ingest what waits, plan, edit, gate, register; until nothing is left."""
    here = state(ctx)
    began = datetime.now(UTC)
    result = run_main(here.settings, tuple(paths or ()), quiet=as_json)
    with here.ledger() as ledger:
        counts = ledger.counts()
        failed = [e.message for e in ledger.events(kind="job-failed") if e.at >= began]
    for message in failed:
        typer.echo(f"melo: {message}", err=True)
    if as_json:
        print_json({**result, "champion": counts.champion, "counts": counts.counts})
        return
    verdicts = result["verdicts"]
    if not verdicts:
        typer.echo("Nothing waits. `melo ingest PATH` takes reports in; `melo status` says more.")
        return
    print_table(
        ("job", "version", "gate", "added", "removed", "rejected", "why"),
        [
            (
                v.job, (v.version or "-")[:12], "passed" if v.passed else "failed", v.added,
                v.removed, v.rejected, short(v.reason, 80),
            )
            for v in verdicts
        ],
    )  # fmt: skip
    typer.echo(f"\nchampion {(counts.champion or 'none')[:12]}")


def run_main(
    settings: Any, paths: tuple[str, ...] = (), *, quiet: bool = False, inside: bool = False
) -> dict[str, Any]:
    """Run the main flow on the ephemeral server, or on the one that PREFECT_API_URL names.

    inside: a progress display is up already.

    Raises IngestError for a path that isn't there, TaskError or MeloError for an unusable backbone.
    """
    from cli.progress import shown
    from tasks import orchestrator
    from tasks.ingest.step import find_files
    from tasks.versions import open_backbone

    find_files(paths)
    orchestrator.use(settings)
    orchestrator.end_with_us()
    open_backbone(settings)
    orchestrator.start(settings)
    from flows.main import main

    orchestrator.wait()
    home = str(Path(settings.home).absolute())
    with contextlib.nullcontext() if inside else shown(quiet=quiet):
        return dict(main(home, paths))
