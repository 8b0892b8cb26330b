"""`melo gate`: gate a version by hand, as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.printing import Columns, print_columns
from console.context import Json, new_app, state
from console.output import print_json, print_table, short

if TYPE_CHECKING:
    from tasks.gate.types import Check

app = new_app()


@app.command()
def gate(
    ctx: typer.Context,
    version: Annotated[
        str, typer.Argument(help="An id, its prefix, champion, candidate or previous.")
    ] = "champion",
    full: Annotated[
        bool, typer.Option("--full", help="Generate every answer anew; compare with the cache.")
    ] = False,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="Only this suite; may come several times.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the probes and the audited sample.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Folder for gate.json and gate.html.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a version all regression probes and judge it as it is: nothing is taken out or shrunk.

    Answers known from earlier gates are not generated again. Exit code 1 where it fails.
    """
    from console.progress import shown
    from tasks.gate import write_report
    from tasks.gate.by_hand import gate_by_hand
    from tasks.gate.report.page import report_data

    here = state(ctx)
    with here.ledger(create=False) as ledger, shown(quiet=as_json):
        result = gate_by_hand(here.context(ledger), version, full=full, only=suite, seed=seed)
    folder = report or here.settings.paths.report(result.candidate)
    _, page = write_report(result, folder)
    if as_json:
        print_json({**report_data(result), "report": str(page.absolute())})
    else:
        _show(result)
        typer.echo(f"\nreport {page}")
    if not result.passed:
        raise typer.Exit(1)


def _show(result: Any) -> None:
    from tasks.gate.types import text_of

    columns: Columns[Check] = {
        "suite": lambda check: check.suite,
        "what": lambda check: check.metric,
        "value": lambda check: f"{check.value:.4g}",
        "judged on": lambda check: check.bound,
        "asked for": lambda check: f"{check.threshold:.4g}",
        "n": lambda check: f"{check.n:,}",
        "": lambda check: "passed" if check.passed else f"FAILED: {short(check.reason, 120)}",
    }
    checks = [c for c in result.checks if not (c.passed and c.metric.startswith("share where"))]
    print_columns(checks, columns)
    failing = [p for p in result.probes if not p.passed]
    if failing:
        typer.echo("\nprobes that failed")
        print_table(
            ("suite", "prompt", "before", "after", "edit"),
            [
                (p.suite, short(text_of(p.prompt)), short(p.before, 30), short(p.after, 30), p.edit)
                for p in failing[:20]
            ],
        )
    verdict = "passed" if result.passed else "FAILED"
    typer.echo(
        f"\n{verdict}: {len(result.probes):,} probes, {result.regenerated:,} answers generated, "
        f"{result.cached:,} known, {result.seconds:.1f} s"
    )
    for open_ in result.unproven[:20]:
        typer.echo(f"left unproven: {open_.suite}, {short(text_of(open_.prompt))}: {open_.reason}")
    for edit, wordings in list(result.narrow.items())[:20]:
        typer.echo(f"narrow: edit {edit} is not found in {short(wordings[0])}")
