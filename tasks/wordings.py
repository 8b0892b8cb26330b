"""The step: change what an edit is asked by. Nothing is trained; the new version is gated and promoted.

add_wordings   its question in further wordings
set_subject    what its question is about, where that was told or inferred wrongly
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from execution.context import Context
from execution.errors import TaskError
from ledger import EditRecord
from ledger.states import IN_FLIGHT, LIVE
from melo_engine import Editor, Version
from tasks.edit import TrainedJob
from tasks.errors import NotPromotable
from tasks.judge import VersionDiff, gate, record
from tasks.register import promote
from tasks.register.promote import base_to_serve


@dataclass(frozen=True)
class InForce:
    """An edit that is to be changed. base: what the change is built upon; champion: what served then."""

    edit: EditRecord
    base: str
    champion: str | None


def add_wordings(context: Context, edit_id: str, wordings: Sequence[str], *, actor: str) -> str:
    """Add wordings to an edit in force; returns the version that was promoted.

    Raises UnknownId; TaskError where the edit is in no version, a wording is empty, or its key does
    not suffice; NotPromotable where the version fails its gate; ChampionMoved where another version was
    promoted meanwhile.
    """
    found = _in_force(context, edit_id)
    edit = found.edit
    texts = [text.strip() for text in dict.fromkeys(wordings)]
    if not texts or not all(texts):
        raise TaskError("a wording is empty; give the question in other words.")
    editor = context.versions.editor(found.base)
    version = editor.add_wordings(edit.id, texts)
    _suffices(editor, edit.id, texts)
    return _serve(
        context,
        found,
        version,
        actor=actor,
        reason=f"{len(texts)} wordings added to edit {edit.id}",
        note=lambda serves: context.ledger.wordings.record(
            edit.id, texts, actor=actor, version=serves
        ),
    )


def set_subject(context: Context, edit_id: str, subject: str, *, actor: str) -> str | None:
    """Say what an edit is about; returns the version that was promoted, None for one not in force.

    An edit that still waits is trained with it. Raises UnknownId, TaskError, NotPromotable;
    ChampionMoved as `add_wordings` does; RequestError where the subject does not stand in the edit's
    question.
    """
    edit = context.ledger.edits.get(edit_id)
    if edit.state in LIVE and edit.state not in IN_FLIGHT:
        context.ledger.edits.note_subjects({edit.id: subject}, origin="given", actor=actor)
        return None
    found = _in_force(context, edit_id)
    return _serve(
        context,
        found,
        context.versions.editor(found.base).set_subject(edit.id, subject),
        actor=actor,
        reason=f'edit {edit.id} is about "{subject}"',
        note=lambda _: context.ledger.edits.note_subjects(
            {edit.id: subject}, origin="given", actor=actor
        ),
    )


def _in_force(context: Context, edit_id: str) -> InForce:
    """An edit, and the version with it that the next one is built upon.

    The champion is read first: what is promoted after that is not lost, for the change gives way to it.
    """
    champion = context.ledger.champions.current()
    edit = context.ledger.edits.get(edit_id)
    base = base_to_serve(context)
    if base is None or edit.id not in context.versions.open(base):
        raise TaskError(f"edit {edit.id} is {edit.state} and in no version; change one in force.")
    return InForce(edit, base, champion.version if champion else None)


def _serve(
    context: Context,
    found: InForce,
    version: Version,
    *,
    actor: str,
    reason: str,
    note: Callable[[str], object],
) -> str:
    """Gate a version, put it on record and promote it; returns its id.

    note: puts on record what the version changes, given its id, together with the promotion.
    """
    edit, before = found.edit.id, context.versions.open(found.base)
    context.versions.save(version)
    gated, reasons = gate(context, TrainedJob("", found.base, version.id))
    if edit not in gated.version or not gated.passed:
        why = reasons.get(edit, gated.reason)
        raise NotPromotable(f"changed so, the version failed its gate: {why}.")
    removed = tuple(e for e in before.edits if e not in gated.version)
    with context.ledger.store.write():
        removals = {e: f"taken out by the gate: {why}" for e, why in reasons.items() if e in before}
        record(context.ledger, gated, VersionDiff(found.base, removed=removed, removals=removals))
    promote(
        context,
        gated.version.id,
        expected=found.champion,
        actor=actor,
        reason=reason,
        note=note,
    )
    return gated.version.id


def _suffices(editor: Editor, edit: str, texts: Sequence[str]) -> None:
    """Raise TaskError unless each wording is routed to the edit now and answered rightly."""
    target = editor.version[edit].request.target
    wanted = editor.backbone.canonical(target) if editor.backbone.generates else target.strip()
    for text, answer in zip(texts, editor.answer(texts), strict=True):
        if answer.edit != edit:
            by = f"edit {answer.edit} is nearer" if answer.edit else "it does not name its subject"
            raise TaskError(
                f'"{text[:80]}" would not be found: {by}. Report the fact again with this wording '
                "among its rephrases and its subject or alias in it."
            )
        if answer.text not in (wanted, target.strip()):
            raise TaskError(
                f'"{text[:80]}" would be answered "{answer.text[:80]}", not "{target[:80]}". Report the '
                "fact again with this wording among its rephrases: then it is trained on."
            )
