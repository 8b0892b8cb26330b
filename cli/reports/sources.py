"""`melo sources`: who reports, how trusted, and an end to one that misleads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.printing import Columns, print_outcome, print_records
from console.context import Json, new_app, state, user

if TYPE_CHECKING:
    from ledger import SourceState, WriteBack

app = new_app(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The source's name.")]


@app.callback()
def _sources() -> None:
    """Who reports, and how far each is trusted."""


@app.command("list")
def list_sources(ctx: typer.Context, as_json: Json = False) -> None:
    """Every source: its trust and policy, and what became of its lines."""
    with state(ctx).ledger(create=False) as ledger:
        sources = ledger.sources.all()
    columns: Columns[SourceState] = {
        "source": lambda source: source.name + (" (blocked)" if source.blocked else ""),
        "trust": lambda source: source.trust,
        "policy": _policy,
        "reports": lambda source: source.reports,
        "accepted": lambda source: source.accepted,
        "quarantined": lambda source: source.quarantined,
        "active": lambda source: source.active,
        "rejected": lambda source: source.rejected,
    }
    print_records(sources, columns, as_json)


def _policy(source: SourceState) -> str:
    return f"quorum: {source.quorum}" if source.policy == "quorum" else source.policy


@app.command()
def block(
    ctx: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept on record.")],
    by: Annotated[str | None, typer.Option("--by", help="Who decides.")] = None,
    as_json: Json = False,
) -> None:
    """Block a source and revoke every edit that nobody else stands behind."""
    with state(ctx).ledger(create=False) as ledger:
        at_once, later = ledger.sources.block(name, actor=by or user(), reason=reason)
    print_outcome(
        {"revoked": at_once, "with_next_version": later},
        f"{name} is blocked: {len(at_once)} edits revoked, {len(later)} active ones leave with "
        "the next version (`melo run`).",
        as_json,
    )


@app.command()
def unblock(ctx: typer.Context, name: Name) -> None:
    """Take lines of a source again."""
    with state(ctx).ledger(create=False) as ledger:
        ledger.sources.unblock(name)
    typer.echo(
        f"{name} is no longer blocked. What was revoked stays revoked; what is held as blocked is "
        "judged anew once it is reported again."
    )


@app.command()
def tell(ctx: typer.Context, as_json: Json = False) -> None:
    """Tell the tools that reports came from which edits serve now, as `[write_back]` says."""
    from console.errors import UsageProblem
    from tasks.write_back import configured, write_back

    here = state(ctx)
    if not configured(here.settings):
        raise UsageProblem(
            "nobody is to be told. Set [write_back] in melo.toml; see docs/feedback.md."
        )
    with here.ledger(create=False) as ledger:
        done = write_back(here.context(ledger))
    print_outcome(
        done,
        f"{done.told} places told, {done.refused} refused, {done.unknown} in doubt, {done.left} left for "
        "the next run.",
        as_json,
    )


@app.command("told")
def list_write_backs(
    ctx: typer.Context,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: Json = False,
) -> None:
    """Whom `melo sources tell` and the runs told, and what came of it."""
    with state(ctx).ledger(create=False) as ledger:
        places = ledger.write_backs.find(limit=limit)
    columns: Columns[WriteBack] = {
        "tool": lambda place: place.tool,
        "trace": lambda place: place.trace,
        "edit": lambda place: place.edit[:12],
        "outcome": lambda place: place.state,
        "tries": lambda place: place.attempts,
        "ended": lambda place: place.ended_at,
        "error": lambda place: place.error,
    }
    print_records(places, columns, as_json)
