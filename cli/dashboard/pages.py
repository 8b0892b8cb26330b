"""`melo dashboard`: the pages, served on this machine by Streamlit, until interrupted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from console.context import new_app, state
from execution.ports import free_port

app = new_app()
SCRIPT = Path(__file__).resolve().parents[2] / "dashboards" / "app.py"


@app.command()
def dashboard(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="None: the setting's; 0: any free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Let the page Ask open the model.")
    ] = True,
    review: Annotated[
        bool, typer.Option("--review/--no-review", help="Let a key with the scope review decide.")
    ] = True,
) -> None:
    """Edit quality over time, to look at, and the review queue; no request leaves this machine.

    Pages read only, but for decisions of somebody who gives a key with the scope `review`.
    """
    here = state(ctx)
    settings = here.settings
    if settings.paths.ledger.exists():
        with here.ledger(create=False):
            pass  # brings an older ledger up, and publishes a copy where there is none
    chosen = (settings.dashboard.port if port is None else port) or free_port(host)
    home = str(settings.home.absolute())
    answering = [sys.executable, "-m", "cli.dashboard.answering", home] if ask else []
    deciding = [sys.executable, "-m", "cli.dashboard.deciding", home] if review else []
    environment = {
        **os.environ,
        "MELO_HOME": home,
        "MELO_ASK": json.dumps(answering),
        "MELO_REVIEW": json.dumps(deciding),
    }
    typer.echo(f"The pages of {home} are at http://{host}:{chosen}")
    sys.stdout.flush()
    options = {
        "server.port": chosen,
        "server.address": host,
        "server.headless": "true",
        "browser.gatherUsageStats": "false",
        "server.fileWatcherType": "none",
        "logger.level": "warning",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(SCRIPT)]
    command += [f"--{name}={value}" for name, value in options.items()]
    os.execve(sys.executable, command, environment)
