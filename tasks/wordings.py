"""The step: let an edit answer its question in further wordings. Nothing is trained; it is gated."""

from __future__ import annotations

from collections.abc import Sequence

from config import Settings
from ledger import Ledger
from melo_engine import Editor
from tasks.edit import Trained
from tasks.errors import NotPromotable, TaskError
from tasks.judge import gate, record
from tasks.register import promote
from tasks.versions import head, open_editor, open_version, save_version


def add_wordings(
    settings: Settings, ledger: Ledger, edit_id: str, wordings: Sequence[str], *, actor: str
) -> str:
    """Add wordings to an edit in force; returns the version that was promoted.

    Raises UnknownId; TaskError where the edit is in no version, a wording is empty, or its key does
    not suffice; NotPromotable where the version fails its gate.
    """
    edit = ledger.edit(edit_id)
    champion = ledger.champion()
    manual = settings.registry.promotion == "manual"
    base = champion.version if champion and manual else head(ledger)
    before = open_version(settings, base) if base is not None else None
    if base is None or before is None or edit.id not in before:
        raise TaskError(f"edit {edit.id} is {edit.state} and in no version; add to one in force.")
    texts = [text.strip() for text in dict.fromkeys(wordings)]
    if not texts or not all(texts):
        raise TaskError("a wording is empty; give the question in other words.")
    editor = open_editor(settings, base)
    version = editor.add_wordings(edit.id, texts)
    _suffices(editor, edit.id, texts)
    save_version(settings, version)
    gated, reasons = gate(settings, ledger, Trained("", base, version.id))
    if edit.id not in gated.version or not gated.passed:
        why = reasons.get(edit.id, gated.reason)
        raise NotPromotable(f"with these wordings the version failed its gate: {why}.")
    removed = tuple(e for e in before.edits if e not in gated.version)
    with ledger.write():
        asked = {e: f"taken out by the gate: {why}" for e, why in reasons.items() if e in before}
        record(ledger, gated, base, None, (), removed, {}, asked)
        ledger.record_wordings(edit.id, texts, actor=actor, version=gated.version.id)
    promote(
        settings, ledger, gated.version.id,
        expected=champion.version if champion else None, actor=actor,
        reason=f"{len(texts)} wordings added to edit {edit.id}",
    )  # fmt: skip
    return gated.version.id


def _suffices(editor: Editor, edit: str, texts: Sequence[str]) -> None:
    """Whether each wording is found now and its answer is right."""
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
