"""The step: change what an edit is asked by. Nothing is trained; the new version is gated and promoted.

add_wordings   its question in further wordings
set_subject    what its question is about, where that was told or inferred wrongly
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


def add_wordings(context: Context, edit_id: str, wordings: Sequence[str], *, actor: str) -> str:
    """Add wordings to an edit in force; returns the version that was promoted.

    Raises UnknownId; TaskError where the edit is in no version, a wording is empty, or its key does
    not suffice; NotPromotable where the version fails its gate.
    """
    edit, base = _in_force(context, edit_id)
    texts = [text.strip() for text in dict.fromkeys(wordings)]
    if not texts or not all(texts):
        raise TaskError("a wording is empty; give the question in other words.")
    editor = context.versions.editor(base)
    version = editor.add_wordings(edit.id, texts)
    _suffices(editor, edit.id, texts)
    reason = f"{len(texts)} wordings added to edit {edit.id}"
    with _gated(context, edit.id, base, version, reason, actor) as version_id:
        context.ledger.wordings.record(edit.id, texts, actor=actor, version=version_id)
    return version_id


def set_subject(context: Context, edit_id: str, subject: str, *, actor: str) -> str | None:
    """Say what an edit is about; returns the version that was promoted, None for one not in force.

    An edit that still waits is trained with it. Raises UnknownId, TaskError, NotPromotable; RequestError
    where the subject does not stand in the edit's question.
    """
    edit = context.ledger.edits.get(edit_id)
    if edit.state in LIVE and edit.state not in IN_FLIGHT:
        context.ledger.edits.note_subjects({edit.id: subject}, origin="given", actor=actor)
        return None
    edit, base = _in_force(context, edit_id)
    version = context.versions.editor(base).set_subject(edit.id, subject)
    reason = f'edit {edit.id} is about "{subject}"'
    with _gated(context, edit.id, base, version, reason, actor) as version_id:
        context.ledger.edits.note_subjects({edit.id: subject}, origin="given", actor=actor)
    return version_id


def _in_force(context: Context, edit_id: str) -> tuple[EditRecord, str]:
    """An edit, and the version with it that the next one is built upon."""
    edit = context.ledger.edits.get(edit_id)
    base = base_to_serve(context)
    if base is None or edit.id not in context.versions.open(base):
        raise TaskError(f"edit {edit.id} is {edit.state} and in no version; change one in force.")
    return edit, base


@contextmanager
def _gated(
    context: Context, edit: str, base: str, version: Version, reason: str, actor: str
) -> Iterator[str]:
    """Gate a version, put it on record with what is done inside the block, and promote it."""
    before = context.versions.open(base)
    context.versions.save(version)
    gated, reasons = gate(context, TrainedJob("", base, version.id))
    if edit not in gated.version or not gated.passed:
        why = reasons.get(edit, gated.reason)
        raise NotPromotable(f"changed so, the version failed its gate: {why}.")
    removed = tuple(e for e in before.edits if e not in gated.version)
    champion = context.ledger.champions.current()
    with context.ledger.store.write():
        removals = {e: f"taken out by the gate: {why}" for e, why in reasons.items() if e in before}
        diff = VersionDiff(base, removed=removed, removals=removals)
        record(context.ledger, gated, diff)
        yield gated.version.id
    serving = champion.version if champion else None
    promote(context, gated.version.id, expected=serving, actor=actor, reason=reason)


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
