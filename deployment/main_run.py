"""The main job once, in this process: on a Prefect server that ends with it, or on a running one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import typer

from console import collection, signals


def run_main(
    settings: Any, paths: tuple[str, ...] = (), *, quiet: bool = False, inside: bool = False
) -> dict[str, Any]:
    """Run the main flow on the ephemeral server, or on the one that PREFECT_API_URL names.

    inside: a progress display is up already.

    Raises IngestError for a path that isn't there, TaskError or MeloError for an unusable backbone,
    ServerProblem where Prefect's server does not come up.
    """
    from console.progress import shown
    from execution import orchestrator
    from tasks.ingest.files import find_files

    find_files(paths)
    signals.arm()
    orchestrator.use(settings)
    with collection.paused():
        from execution.versions import Versions

        _ = Versions(settings).backbone  # one that can't be used ends the command here
        orchestrator.start(settings, lambda text: typer.echo(f"melo: {text}", err=True))
        from flows.main import main

    orchestrator.wait()
    home = str(Path(settings.home).absolute())
    progress = contextlib.nullcontext() if inside else shown(quiet=quiet)
    with progress, orchestrator.without_heartbeats():
        return dict(main(home, paths))
