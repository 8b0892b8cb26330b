"""`melo review`: edits that wait for a person."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from cli.context import Json, new_app, print_json, print_table, short, state

app = new_app(no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Edit ids; the first characters are enough.")]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept on record.")]
Who = Annotated[str | None, typer.Option("--by", help="Who decides; the user by default.")]


@app.callback()
def _review() -> None:
    """Edits that wait for a person: untrusted, contradictory or without an answer."""


@app.command("list")
def list_waiting(ctx: typer.Context, as_json: Json = False) -> None:
    """What waits, and for what."""
    with state(ctx).ledger(create=False) as ledger:
        found = ledger.waiting()
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "waits for", "prompt", "target", "source", "since"),
        [
            (
                edit.id[:12], edit.hold, short(edit.prompt), short(edit.target, 30) or None,
                edit.source, edit.since,
            )
            for edit in found
        ],
    )  # fmt: skip


@app.command()
def approve(
    ctx: typer.Context,
    ids: Ids,
    reason: Why,
    by: Who = None,
    answer: Annotated[
        str | None, typer.Option(help="The right answer, for a report without one.")
    ] = None,
) -> None:
    """Let edits in. One that is held for a contradiction wins it."""
    from cli.errors import UsageProblem
    from tasks.ingest import rules_from

    here = state(ctx)
    actor = by or _user()
    with here.ledger(create=False) as ledger:
        rules = rules_from(here.settings)
        if answer is None:
            ledger.approve(ids, actor=actor, reason=reason, rules=rules)
            typer.echo(f"{len(ids)} approved by {actor}.")
            return
        if len(ids) != 1:
            raise UsageProblem("--answer answers one edit at a time.")
        made = ledger.answer(ids[0], answer, actor=actor, reason=reason, rules=rules)
        typer.echo(f"Answered by {actor} as edit {made[:12]}.")


@app.command()
def reject(ctx: typer.Context, ids: Ids, reason: Why, by: Who = None) -> None:
    """Keep edits out."""
    actor = by or _user()
    with state(ctx).ledger(create=False) as ledger:
        ledger.reject(ids, actor=actor, reason=reason)
    typer.echo(f"{len(ids)} rejected by {actor}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
