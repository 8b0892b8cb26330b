"""`melo versions compact` and `melo versions delete`: what versions take up, here and in MLflow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.printing import print_outcome
from console.context import Json, Why, state, user
from console.output import print_json


def compact(ctx: typer.Context, as_json: Json = False) -> None:
    """Fold the champion's shards into one for each rank; free what no version refers to.

    Every version stays loadable, and keeps its name and its answers.
    """
    from console.progress import shown
    from tasks.compact import compact as sweep
    from tasks.fold import fold

    here = state(ctx)
    with here.ledger(create=False) as ledger, shown(quiet=as_json):
        folded = fold(here.context(ledger), above=1)
        freed = sweep(here.context(ledger))
    if as_json:
        print_json({"folded": asdict(folded), "freed": asdict(freed)})
        return
    typer.echo(
        f"{folded.before} shards became {folded.after}; {folded.moved} other versions refer to them."
        if folded.after < folded.before
        else f"The champion has {folded.after} shards; there is nothing to fold."
    )
    typer.echo(
        f"{freed.versions} versions and {freed.shards} shards went, {freed.bytes / 2**20:.1f} MiB. "
        "What was folded away goes a day later."
    )
    if freed.unreadable:
        typer.echo(
            f"{freed.unreadable} versions can't be read, so all shards stay: see `melo doctor`. "
            "Restore them from a backup, or `melo versions delete` them.",
            err=True,
        )


def delete(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="An id or its prefix.")],
    reason: Why = "deleted by hand",
    as_json: Json = False,
) -> None:
    """Delete a version for good. Refused while it serves or another version refers to its blocks."""
    from execution.lineage import resolve
    from tasks.register.delete import delete as delete_version

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        gone = delete_version(
            here.context(ledger), resolve(ledger, version), actor=user(), reason=reason
        )
    sentence = f"{gone[:12]} is deleted; its record stays (`melo versions show {gone[:12]}`)."
    print_outcome({"deleted": gone}, sentence, as_json)
