"""What a person decides of edits by `melo review`: put on record, or shown without being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from console.context import state, user
from console.output import print_table, short

if TYPE_CHECKING:
    from ledger import Change
    from ledger.decisions import Action


# What is printed once it is done: how many edits, by whom, and as which edit.
DONE: dict[Action, str] = {
    "approve": "{} approved by {}.",
    "both": "{} kept beside the other, by {}.",
    "answer": "Answered by {1} as edit {2}.",
    "reject": "{} rejected by {}.",
    "urgent": "{} urgent, by {}.",
    "not-urgent": "{} urgent no more, by {}.",
    "subject": "{} subject corrected by {}.",
    "wording": "{} wording added by {}.",
}


@dataclass(frozen=True)
class Ruling:
    """What a person decides of some edits, and why. by: None for the user who types."""

    action: Action
    edits: list[str]
    reason: str
    by: str | None
    dry_run: bool
    value: str | None = None


def apply(ctx: typer.Context, ruling: Ruling) -> None:
    """Make one decision for each edit, all or none, or show what they would change."""
    from ledger import Decision
    from tasks.review import decide, preview

    here, actor, new_edit = state(ctx), ruling.by or user(), ""
    with here.ledger(create=False) as ledger:
        decisions = [
            Decision(ruling.action, edit, ruling.reason, ruling.value) for edit in ruling.edits
        ]
        if ruling.dry_run:
            for decision in decisions:
                _show(preview(here.context(ledger), decision, actor=actor))
            return
        if len(decisions) == 1:
            new_edit = decide(here.context(ledger), decisions[0], actor=actor).made or ""
        else:
            with ledger.store.write():
                for decision in decisions:
                    decide(here.context(ledger), decision, actor=actor)
    typer.echo(DONE[ruling.action].format(len(ruling.edits), actor, new_edit[:12]))


def _show(changes: list[Change]) -> None:
    print_table(
        ("edit", "prompt", "target", "is", "becomes", "why"),
        [
            (c.edit[:12], short(c.prompt), short(c.target, 30) or None, c.before, c.after, c.why)
            for c in changes
        ],
    )
