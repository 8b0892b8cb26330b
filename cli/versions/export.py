"""`melo export peft`: the blocks of a version as adapters that other servers load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.printing import print_outcome
from console.context import Json, new_app, state
from console.errors import UsageProblem

app = new_app(no_args_is_help=True)


@app.callback()
def _export() -> None:
    """Take a version out of here."""


@app.command()
def peft(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="champion, previous, candidate, or an id.")],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    edit: Annotated[
        list[str] | None,
        typer.Option(help="Only this edit, by its id or its beginning; again for more. None: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write each block as a PEFT adapter, FOLDER/EDIT/, and what they are for, FOLDER/index.json."""
    from rich.progress import track

    from execution.lineage import BASE, resolve
    from execution.versions import Versions
    from melo_engine.peft_export import export_version

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        chosen = resolve(ledger, version)
        edits = ledger.edits.full_ids(edit or ())
    if chosen == BASE:
        raise UsageProblem("base has no blocks. Give champion, previous, candidate, or an id.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageProblem(f"{folder} is there already. Give a new folder.")
    versions = Versions(here.settings)
    opened = versions.open(chosen)
    missing = [edit_id for edit_id in edits if edit_id not in opened]
    if missing:
        raise UsageProblem(
            f"edit {missing[0]} is not in version {opened.id[:12]}. `melo edits show {missing[0][:12]}` "
            "says which one has it."
        )
    wanted = edits or list(opened.edits)
    quiet = as_json or not sys.stderr.isatty()
    export_version(
        versions.backbone, opened, folder, track(wanted, "exporting", transient=True, disable=quiet)
    )
    print_outcome(
        {"version": opened.id, "adapters": len(wanted), "folder": folder},
        f"{len(wanted)} adapters of version {opened.id[:12]} in {folder}.",
        as_json,
    )
