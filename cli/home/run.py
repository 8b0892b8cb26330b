"""`melo run`: the main job once, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.printing import Columns, print_columns
from console import signals
from console.context import Json, new_app, state
from console.output import print_json, short

if TYPE_CHECKING:
    from config import Settings
    from tasks.judge import Verdict

app = new_app()


@app.command()
def run(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files to take in first; none: the inbox.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The main job once: ingest what waits, plan, edit, gate, register; until nothing is left.

    Exit code 0 where every edit that waited serves, was rejected by the gate, or awaits a person;
    1 where something is left that a later run has to finish.
    """
    signals.arm()
    here = state(ctx)
    here.at_home()
    began = datetime.now(UTC)
    from deployment.main_run import run_main

    result = run_main(here.settings, tuple(paths or ()), quiet=as_json)
    with here.reader() as ledger:
        counts = ledger.counts()
        waiting = ledger.edits.unserved()
        held = ledger.review.held_since(began)
        since = [event for event in reversed(ledger.events.latest(limit=1000)) if event.at >= began]
    taken_up = [event.message for event in since if event.kind == "taken-up"]
    problems = [event.message for event in since if event.kind == "job-failed"]
    problems += unfinished(here.settings, waiting)
    if as_json:
        print_json(
            {
                **result,
                "champion": counts.champion,
                "counts": counts.counts,
                "taken_up": taken_up,
                "held": held,
                "problems": problems,
            }
        )
    else:
        for message in taken_up:
            typer.echo(f"Finished for an earlier run: {message}")
        _show(result["verdicts"], held)
        if result["verdicts"] or taken_up or held or problems:
            typer.echo(f"\nchampion {(counts.champion or 'none')[:12]}")
        else:
            typer.echo(
                "Nothing waits. `melo ingest PATH` takes reports in; `melo status` says more."
            )
    for message in problems:
        typer.echo(f"melo: {message}", err=True)
    if problems:
        raise typer.Exit(1)


def unfinished(settings: Settings, waiting: Mapping[str, int]) -> list[str]:
    """What a run leaves that it was to finish, a line each; nothing where all is decided.

    waiting: edits by state. Where a person promotes, what is trained is finished.
    """
    states = (
        "ready",
        "planned",
        *(() if settings.registry.promotion == "manual" else ("trained",)),
    )
    left = {state: waiting[state] for state in states if waiting.get(state)}
    if not left:
        return []
    summary = ", ".join(f"{number} {state}" for state, number in left.items())
    return [
        f"edits still wait to serve ({summary}); another run has them, or the next one takes them."
    ]


def _show(verdicts: list[Verdict], held: Mapping[str, int]) -> None:
    """What became of each job, and of the edits that wait for somebody. held: how many, by what for."""
    if verdicts:
        columns: Columns[Verdict] = {
            "job": lambda verdict: verdict.job,
            "version": lambda verdict: (verdict.version or "-")[:12],
            "gate": lambda verdict: "passed" if verdict.passed else "failed",
            "added": lambda verdict: verdict.added,
            "removed": lambda verdict: verdict.removed,
            "rejected": lambda verdict: verdict.rejected,
            "why": lambda verdict: short(verdict.reason, 80),
        }
        print_columns(verdicts, columns)
    if held:
        reasons = ", ".join(f"{number} for {hold}" for hold, number in held.items())
        typer.echo(
            f"Held of what this run took up: {sum(held.values())} ({reasons}). `melo review list` shows "
            "them; `melo review approve`, `reject` or `answer` decides."
        )
