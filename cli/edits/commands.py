"""`melo edits`: list, show, revoke; contradictions and near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from cli.edits.revoke import revoke
from cli.printing import Columns, print_columns, print_outcome, print_records
from console.context import Json, new_app, state, user
from console.output import print_json, print_table, short

if TYPE_CHECKING:
    from ledger import ConflictRecord, EditRecord

app = new_app(no_args_is_help=True)
app.command()(revoke)


@app.callback()
def _edits() -> None:
    """List, show and revoke edits; their contradictions and near-duplicates."""


@app.command("list")
def list_edits(
    ctx: typer.Context,
    in_state: Annotated[str | None, typer.Option("--state", help="Only edits in it.")] = None,
    source: Annotated[str | None, typer.Option(help="Only edits of this source.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    narrow: Annotated[
        bool, typer.Option("--narrow", help="Only edits not found in all wordings, with those.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Edits in the order they came."""
    from console.errors import UsageProblem
    from ledger.states import STATES

    if in_state is not None and in_state not in STATES:
        raise UsageProblem(f"no state {in_state!r}. States: {', '.join(STATES)}.")
    with state(ctx).ledger(create=False) as ledger:
        edits = ledger.edits.find(state=in_state, source=source, limit=limit)
        missed = ledger.wordings.narrow()
    if narrow:
        _show_narrow([edit for edit in edits if edit.id in missed], missed, as_json)
        return
    columns: Columns[EditRecord] = {
        "id": lambda edit: edit.id[:12],
        "state": _state,
        "prompt": lambda edit: short(edit.prompt),
        "target": lambda edit: short(edit.target, 30),
        "reported": lambda edit: edit.reported,
        "source": lambda edit: short(edit.source, 24),
    }
    print_records(edits, columns, as_json)


def _show_narrow(
    edits: Sequence[EditRecord], missed: Mapping[str, Sequence[str]], as_json: bool
) -> None:
    """Narrow edits with the wordings in which they are not found."""
    columns: Columns[EditRecord] = {
        "id": lambda edit: edit.id[:12],
        "prompt": lambda edit: short(edit.prompt),
        "target": lambda edit: short(edit.target, 30),
        "not found in": lambda edit: " | ".join(missed[edit.id]),
    }
    print_records(
        edits, columns, as_json, of=lambda edit: {**asdict(edit), "not_found_in": missed[edit.id]}
    )


def _state(edit: EditRecord) -> str:
    return edit.state + (f" ({edit.hold})" if edit.hold else "")


@app.command("add-wording")
def add_wording(
    ctx: typer.Context,
    edit_id: str,
    wordings: Annotated[list[str], typer.Argument(help="Other wordings of its question.")],
    by: Annotated[str | None, typer.Option(help="None: your user name.")] = None,
    as_json: Json = False,
) -> None:
    """Let an edit answer its question in further wordings: a new version, without training.

    The version goes through the gate and is promoted. Refused where the edit's key does not suffice.
    """
    from tasks.wordings import add_wordings

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        version = add_wordings(here.context(ledger), edit_id, wordings, actor=by or user())
    print_outcome(
        {"edit": edit_id, "wordings": wordings, "version": version},
        f"{edit_id} answers {len(wordings)} more wordings in version {version[:12]}.",
        as_json,
    )


@app.command()
def subject(
    ctx: typer.Context,
    edit_id: str,
    name: Annotated[str, typer.Argument(help="As it is written in the question.")],
    by: Annotated[str | None, typer.Option(help="None: your user name.")] = None,
    as_json: Json = False,
) -> None:
    """Say what an edit is about, where that was told or inferred wrongly.

    An edit in force gets a new version without training, which is gated and promoted.
    """
    from tasks.wordings import set_subject

    here = state(ctx)
    with here.ledger(create=False) as ledger:
        version = set_subject(here.context(ledger), edit_id, name, actor=by or user())
    where = f"version {version[:12]} serves it" if version else "it is trained with it"
    outcome = {"edit": edit_id, "subject": name, "version": version}
    print_outcome(outcome, f'{edit_id} is about "{name}": {where}.', as_json)


@app.command()
def show(ctx: typer.Context, edit_id: str, as_json: Json = False) -> None:
    """An edit's whole life, from the raw line to the version that holds it."""
    with state(ctx).ledger(create=False) as ledger:
        edit = ledger.edits.get(edit_id)
        history = ledger.edits.history(edit.id)
        lines = ledger.edits.raw_lines(edit.id)
        conflicts = ledger.conflicts.find(edit_id=edit.id)
        version = ledger.versions.get(edit.version) if edit.version else None
        alike = ledger.deduplication.group_of(edit.id)
    if as_json:
        print_json(
            {
                **asdict(edit),
                "history": history,
                "lines": [
                    {"file": file, "line": line, "outcome": outcome, "raw": raw}
                    for file, line, outcome, raw in lines
                ],
                "contradictions": conflicts,
                "similar": [other.id for other in alike],
                "registered": version,
            }
        )
        return
    print_table(
        ("edit", edit.id),
        [
            ("state", _state(edit)),
            *((f"{role}, before", text) for role, text in edit.messages[:-1]),
            ("prompt", edit.prompt),
            ("target", edit.target),
            (f"subject, {edit.subject_source}", edit.subject),
            ("rephrases", " | ".join(edit.rephrases)),
            ("reported", f"{edit.reported} times by {edit.sources} sources"),
            ("valid", f"{edit.valid_from or 'always'} to {edit.valid_to or 'open'}"),
            ("version", edit.version),
            ("MLflow version", version.registry_version if version else None),
        ],
    )
    typer.echo("\nlines")
    print_table(
        ("file", "line", "outcome", "raw"),
        [(file, line, outcome, short(raw, 100)) for file, line, outcome, raw in lines],
    )
    typer.echo("\nlife")
    print_table(
        ("time", "state", "actor", "reason", "version"),
        [(step.at, step.to_state, step.actor, step.reason, step.version) for step in history],
    )
    if alike:
        typer.echo("\nthe same question in other words")
        print_table(
            ("edit", "state", "prompt", "target"),
            [(e.id[:12], e.state, short(e.prompt), short(e.target, 30)) for e in alike],
        )
    if conflicts:
        typer.echo("\ncontradictions")
        print_table(
            ("winner", "loser", "rule"),
            [(c.winner[:12] if c.winner else None, c.loser[:12], c.rule) for c in conflicts],
        )


@app.command()
def contradictions(ctx: typer.Context, as_json: Json = False) -> None:
    """Every contradiction, and by which rule it was decided; undecided ones wait in `melo review`."""
    with state(ctx).ledger(create=False) as ledger:
        conflicts = ledger.conflicts.find()
    columns: Columns[ConflictRecord] = {
        "rule": lambda conflict: conflict.rule,
        "question": lambda conflict: short(conflict.winner_prompt or conflict.loser_prompt),
        "answer that won": lambda conflict: short(conflict.winner_target, 30),
        "answer that lost": lambda conflict: (
            short(conflict.loser_target, 30) if conflict.winner else None
        ),
        "undecided between": _sides,
        "loser": lambda conflict: conflict.loser[:12],
        "other": lambda conflict: (conflict.winner or conflict.rival or "")[:12] or None,
    }
    print_records(conflicts, columns, as_json)


def _sides(conflict: ConflictRecord) -> str | None:
    """The answers that nobody has decided between."""
    if conflict.winner:
        return None
    sides = (conflict.loser_target, conflict.rival_target)
    return " | ".join(short(side, 30) for side in sides if side)


@app.command()
def similar(ctx: typer.Context, as_json: Json = False) -> None:
    """Near-duplicates: the same question in other words, by the engine's keys."""
    with state(ctx).ledger(create=False) as ledger:
        edits = [edit for edit in ledger.edits.find() if edit.group]
    grouped = sorted(edits, key=lambda edit: edit.group or "")
    if as_json:
        print_json({str(name): list(group) for name, group in groupby(grouped, lambda e: e.group)})
        return
    columns: Columns[EditRecord] = {
        "group": lambda edit: short(edit.group, 12),
        "id": lambda edit: edit.id[:12],
        "state": lambda edit: edit.state,
        "prompt": lambda edit: short(edit.prompt),
        "target": lambda edit: short(edit.target, 30),
        "reported": lambda edit: edit.reported,
    }
    print_columns(grouped, columns)
