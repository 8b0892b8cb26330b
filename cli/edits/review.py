"""`melo review`: edits that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.context import Json, new_app, state, user
from console.output import print_json, print_table, short

if TYPE_CHECKING:
    from ledger import Change, Unanswered
    from ledger.decisions import Action

app = new_app(no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(help="Edit ids; the first characters are enough.")]
Id = Annotated[str, typer.Argument(help="An edit's id; the first characters are enough.")]
Why = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept on record.")]
Who = Annotated[str | None, typer.Option("--by", help="Who decides; the user by default.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
SHOWN = 20  # questions without an answer


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
def triage(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = SHOWN,
    as_json: Json = False,
) -> None:
    """Questions reported without the right answer, the most reported first.

    A proposal is what a comment seems to say; `melo review answer` applies what you say.
    """
    from ledger.triage import as_json as whole

    with state(ctx).ledger(create=False) as ledger:
        found = ledger.unanswered(limit=limit)
    if as_json:
        print_json([whole(question) for question in found])
        return
    print_table(
        ("id", "reports", "question", "the model said", "proposed", "comments"),
        [
            (
                question.edit[:12], question.reports, short(question.prompt), _said(question),
                ", ".join(short(text, 30) for text, _ in question.proposals[:3]) or None,
                len(question.comments),
            )
            for question in found
        ],
    )  # fmt: skip


@app.command()
def show(ctx: typer.Context, edit_id: Id, as_json: Json = False) -> None:
    """One question without an answer: every answer that the model gave, every comment."""
    from console.errors import UsageProblem
    from ledger.triage import as_json as whole

    with state(ctx).ledger(create=False) as ledger:
        found = ledger.unanswered(edit_id=edit_id)
    if not found:
        raise UsageProblem(f"edit {edit_id} waits for no answer. See `melo edits show {edit_id}`.")
    (question,) = found
    if as_json:
        print_json(whole(question))
        return
    facts = [
        ("question", question.prompt),
        ("reported", f"{question.reports} times by {question.sources} sources"),
        ("first, last", f"{question.first:%Y-%m-%d %H:%M}, {question.last:%Y-%m-%d %H:%M}"),
        *(("the model said", f"{text} ({count})") for text, count in question.answers),
    ]
    if question.in_use is not None:
        facts.append((f"edit {question.in_use[1][:12]} answers", question.in_use[0]))
    print_table(("edit", question.edit), facts)
    typer.echo("\ncomments")
    print_table(
        ("time", "source", "comment", "proposed"),
        [(c.at, c.source, c.text, c.proposal) for c in question.comments],
    )


def _said(question: Unanswered) -> str | None:
    return ", ".join(f"{short(text, 30)} ({n})" for text, n in question.answers[:3]) or None


@app.command()
def approve(
    ctx: typer.Context,
    ids: Ids,
    reason: Why,
    by: Who = None,
    answer: Annotated[
        str | None, typer.Option(help="The right answer, for a report without one.")
    ] = None,
    dry_run: Dry = False,
) -> None:
    """Let edits in. One that is held for a contradiction wins it: so an answer is chosen."""
    from console.errors import UsageProblem

    if answer is None:
        _decide(ctx, "approve", ids, None, reason, by, dry_run, "{} approved by {}.")
        return
    if len(ids) != 1:
        raise UsageProblem("--answer answers one edit at a time.")
    _answer(ctx, ids[0], answer, reason, by, dry_run)


@app.command()
def answer(
    ctx: typer.Context,
    edit_id: Id,
    text: Annotated[str, typer.Argument(help="The right answer.")],
    reason: Why,
    by: Who = None,
    dry_run: Dry = False,
) -> None:
    """Say the right answer to a report that came without one."""
    _answer(ctx, edit_id, text, reason, by, dry_run)


@app.command()
def reject(ctx: typer.Context, ids: Ids, reason: Why, by: Who = None, dry_run: Dry = False) -> None:
    """Keep edits out."""
    _decide(ctx, "reject", ids, None, reason, by, dry_run, "{} rejected by {}.")


@app.command()
def urgent(
    ctx: typer.Context,
    ids: Ids,
    reason: Why,
    by: Who = None,
    off: Annotated[bool, typer.Option("--off", help="They are urgent no more.")] = False,
    dry_run: Dry = False,
) -> None:
    """Let edits go first."""
    action: Action = "not-urgent" if off else "urgent"
    said = "{} urgent no more, by {}." if off else "{} urgent, by {}."
    _decide(ctx, action, ids, None, reason, by, dry_run, said)


@app.command()
def subject(
    ctx: typer.Context,
    edit_id: Id,
    name: Annotated[str, typer.Argument(help="As it is written in the question.")],
    reason: Why,
    by: Who = None,
    dry_run: Dry = False,
) -> None:
    """Say what an edit is about."""
    _decide(ctx, "subject", [edit_id], name, reason, by, dry_run, "{} subject corrected by {}.")


@app.command()
def wording(
    ctx: typer.Context,
    edit_id: Id,
    text: Annotated[str, typer.Argument(help="The question in other words.")],
    reason: Why,
    by: Who = None,
    dry_run: Dry = False,
) -> None:
    """Let an edit be asked in other words too."""
    _decide(ctx, "wording", [edit_id], text, reason, by, dry_run, "{} wording added by {}.")


@app.command()
def log(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = SHOWN,
    as_json: Json = False,
) -> None:
    """What people decided, the latest first: who, what, why."""
    with state(ctx).ledger(create=False) as ledger:
        found = ledger.decisions(limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("decision", "time", "by", "what", "edit", "value", "reason", "undo"),
        [
            (
                d.id[:12], d.at, d.actor, d.action, d.edit[:12], short(d.value, 30) or None,
                short(d.reason), f"by {d.undone_by}" if d.undone_at else
                "possible" if d.undoable else None,
            )
            for d in found
        ],
    )  # fmt: skip


@app.command()
def undo(
    ctx: typer.Context,
    decision: Annotated[
        str | None, typer.Argument(help="Its id; none: the latest one that has an undo.")
    ] = None,
    reason: Why = "a slip",
    by: Who = None,
) -> None:
    """Put back how things stood before a decision, where nothing has gone on since."""
    from console.errors import UsageProblem

    actor = by or user()
    with state(ctx).ledger(create=False) as ledger:
        chosen = decision
        if chosen is None:
            latest = [d for d in ledger.decisions() if d.undoable and d.actor == actor]
            if not latest:
                raise UsageProblem(f"no decision of {actor} has an undo. See `melo review log`.")
            chosen = latest[0].id
        moved = ledger.undo(chosen, actor=actor, reason=reason)
    typer.echo(f"Decision {chosen[:12]} undone: {', '.join(edit[:12] for edit in moved)}.")


def _answer(
    ctx: typer.Context, edit_id: str, text: str, reason: str, by: str | None, dry_run: bool
) -> None:
    _decide(ctx, "answer", [edit_id], text, reason, by, dry_run, "Answered by {1} as edit {2}.")


def _decide(
    ctx: typer.Context, action: Action, ids: list[str], value: str | None, reason: str,
    by: str | None, dry_run: bool, said: str,
) -> None:  # fmt: skip
    """Make one decision an edit, all or none, or show what they would change."""
    from ledger import Decision
    from tasks.review import decide, preview

    here, actor, made = state(ctx), by or user(), ""
    with here.ledger(create=False) as ledger:
        decisions = [Decision(action, edit, reason, value) for edit in ids]
        if dry_run:
            for decision in decisions:
                _show(preview(here.settings, ledger, decision, actor=actor))
            return
        if len(decisions) == 1:
            made = decide(here.settings, ledger, decisions[0], actor=actor).made or ""
        else:
            with ledger.write():
                for decision in decisions:
                    decide(here.settings, ledger, decision, actor=actor)
    typer.echo(said.format(len(ids), actor, made[:12]))


def _show(changes: list[Change]) -> None:
    print_table(
        ("edit", "prompt", "target", "is", "becomes", "why"),
        [
            (c.edit[:12], short(c.prompt), short(c.target, 30) or None, c.before, c.after, c.why)
            for c in changes
        ],
    )
