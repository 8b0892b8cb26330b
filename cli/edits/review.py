"""`melo review`: edits that wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.edits.ruling import Ruling, apply
from cli.printing import Columns, print_records
from console.context import Json, new_app, state, user
from console.output import print_json, print_table, short

if TYPE_CHECKING:
    from ledger import Decided, EditRecord, Unanswered

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
        edits = ledger.review.waiting()
    columns: Columns[EditRecord] = {
        "id": lambda edit: edit.id[:12],
        "waits for": lambda edit: edit.hold,
        "prompt": lambda edit: short(edit.prompt),
        "target": lambda edit: short(edit.target, 30) or None,
        "source": lambda edit: edit.source,
        "since": lambda edit: edit.since,
    }
    print_records(edits, columns, as_json)


@app.command()
def triage(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = SHOWN,
    as_json: Json = False,
) -> None:
    """Questions reported without the right answer, the most reported first.

    A proposal is what a comment seems to say; `melo review answer` applies what you say.
    """
    from ledger.triage import as_json as question_json

    with state(ctx).ledger(create=False) as ledger:
        questions = ledger.triage.unanswered(limit=limit)
    columns: Columns[Unanswered] = {
        "id": lambda question: question.edit[:12],
        "reports": lambda question: question.reports,
        "question": lambda question: short(question.prompt),
        "the model said": _answers,
        "proposed": _proposals,
        "comments": lambda question: len(question.comments),
    }
    print_records(questions, columns, as_json, of=question_json)


def _answers(question: Unanswered) -> str | None:
    return ", ".join(f"{short(text, 30)} ({n})" for text, n in question.answers[:3]) or None


def _proposals(question: Unanswered) -> str | None:
    return ", ".join(short(text, 30) for text, _ in question.proposals[:3]) or None


@app.command()
def show(ctx: typer.Context, edit_id: Id, as_json: Json = False) -> None:
    """One question without an answer: every answer that the model gave, every comment."""
    from console.errors import UsageProblem
    from ledger.triage import as_json as question_json

    with state(ctx).ledger(create=False) as ledger:
        questions = ledger.triage.unanswered(edit_id=edit_id)
    if not questions:
        raise UsageProblem(f"edit {edit_id} waits for no answer. See `melo edits show {edit_id}`.")
    (question,) = questions
    if as_json:
        print_json(question_json(question))
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
        apply(ctx, Ruling("approve", ids, reason, by, dry_run))
        return
    if len(ids) != 1:
        raise UsageProblem("--answer answers one edit at a time.")
    apply(ctx, Ruling("answer", ids, reason, by, dry_run, answer))


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
    apply(ctx, Ruling("answer", [edit_id], reason, by, dry_run, text))


@app.command()
def both(
    ctx: typer.Context, edit_id: Id, other: Id, reason: Why, by: Who = None, dry_run: Dry = False
) -> None:
    """Two edits that are held for each other, or of which one had to go, are both right."""
    apply(ctx, Ruling("both", [edit_id], reason, by, dry_run, other))


@app.command()
def reject(ctx: typer.Context, ids: Ids, reason: Why, by: Who = None, dry_run: Dry = False) -> None:
    """Keep edits out."""
    apply(ctx, Ruling("reject", ids, reason, by, dry_run))


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
    apply(ctx, Ruling("not-urgent" if off else "urgent", ids, reason, by, dry_run))


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
    apply(ctx, Ruling("subject", [edit_id], reason, by, dry_run, name))


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
    apply(ctx, Ruling("wording", [edit_id], reason, by, dry_run, text))


@app.command()
def log(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = SHOWN,
    as_json: Json = False,
) -> None:
    """What people decided, the latest first: who, what, why."""
    with state(ctx).ledger(create=False) as ledger:
        decisions = ledger.decisions.find(limit=limit)
    columns: Columns[Decided] = {
        "decision": lambda decided: decided.id[:12],
        "time": lambda decided: decided.at,
        "by": lambda decided: decided.actor,
        "what": lambda decided: decided.action,
        "edit": lambda decided: decided.edit[:12],
        "value": lambda decided: short(decided.value, 30) or None,
        "reason": lambda decided: short(decided.reason),
        "undo": _undone,
    }
    print_records(decisions, columns, as_json)


def _undone(decided: Decided) -> str | None:
    if decided.undone_at:
        return f"by {decided.undone_by}"
    return "possible" if decided.undoable else None


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
            latest = [d for d in ledger.decisions.find() if d.undoable and d.actor == actor]
            if not latest:
                raise UsageProblem(f"no decision of {actor} has an undo. See `melo review log`.")
            chosen = latest[0].id
        moved = ledger.decisions.undo(chosen, actor=actor, reason=reason)
    typer.echo(f"Decision {chosen[:12]} undone: {', '.join(edit[:12] for edit in moved)}.")
