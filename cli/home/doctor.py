"""`melo doctor`: what is wrong, and how to mend it. It looks only; nothing in the home is written."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from cli.deployment.checks import check_database, check_services
from cli.home import checks
from cli.printing import Columns, print_records
from console.context import Json, State, new_app, state

app = new_app()


@app.command()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Look at versions, disk, GPU, backbone, ledger, ports, services, schedules and runs.

    Exit code 1 if anything is unwell.
    """
    findings = list(examine(state(ctx)))
    columns: Columns[checks.Finding] = {
        "": lambda finding: "well" if finding.well else "NOT WELL",
        "what": lambda finding: finding.what,
        "found": lambda finding: finding.found,
        "what to do": lambda finding: finding.remedy,
    }
    print_records(findings, columns, as_json)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def examine(here: State) -> Iterator[checks.Finding]:
    """Everything that is looked at, one after the other."""
    yield from checks.check_packages()
    settings = here.settings
    yield checks.check_disk(settings.home)
    yield checks.check_place(settings)
    yield checks.check_device(settings)
    yield checks.check_backbone(settings)
    yield from checks.check_ledger(here)
    yield from check_database(settings)
    yield from check_services(settings)
