"""The step: a person's decision about an edit. The command line and the page both call this.

What is not trained yet is changed in the ledger alone. Subject and wordings of an edit in force change
by a version of their own, which is gated and promoted (tasks/wordings.py).
"""

from __future__ import annotations

from dataclasses import replace

from execution.context import Context
from ledger import Change, Decided, Decision
from ledger.states import IN_FLIGHT
from tasks.ingest import rules_from

BY_VERSION = ("subject", "wording")


def preview(context: Context, decision: Decision, *, actor: str) -> list[Change]:
    """What a decision would change, without making it. Raises as `decide`, but for errors of the gate."""
    edit = context.ledger.edits.get(decision.edit)
    if decision.action in BY_VERSION and edit.state in IN_FLIGHT:
        kind = "subject is" if decision.action == "subject" else "questions have one more:"
        after = f"its {kind} {(decision.value or '').strip()!r}, in a new version"
        why = "the version is made without training, gated and promoted; that takes a while"
        return [Change(edit.id, edit.prompt, edit.target, edit.state, after, why)]
    return context.ledger.decisions.preview(
        decision, actor=actor, rules=rules_from(context.settings)
    )


def decide(context: Context, decision: Decision, *, actor: str) -> Decided:
    """Make a decision and put it on record.

    Raises LedgerError; TaskError, NotPromotable where an edit in force can't be changed so.
    """
    edit = context.ledger.edits.get(decision.edit)
    if decision.action not in BY_VERSION or edit.state not in IN_FLIGHT:
        return context.ledger.decisions.make(
            decision, actor=actor, rules=rules_from(context.settings)
        )
    from tasks.wordings import add_wordings, set_subject  # which open the model, so torch

    value = (decision.value or "").strip()
    if decision.action == "subject":
        set_subject(context, edit.id, value, actor=actor)
    else:
        add_wordings(context, edit.id, [value], actor=actor)
    carried_out = replace(decision, edit=edit.id, value=value)
    return context.ledger.decisions.record(carried_out, actor=actor)
