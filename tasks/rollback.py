"""The step: an earlier version serves again, or the backbone as it was before any edit."""

from __future__ import annotations

from execution.context import Context
from execution.lineage import BASE
from ledger import Ledger
from tasks.edit import TrainedJob
from tasks.errors import NotPromotable
from tasks.judge import gate, record
from tasks.register import Promotion, promote
from tasks.register import roll_back as to_version


def roll_back(context: Context, version: str | None, *, actor: str, reason: str) -> Promotion:
    """Let a version serve again: the given one, `base`, or the champion before this one.

    Raises NotPromotable where there is none, or where it fails its gate.
    """
    if version == BASE:
        return _to_base(context, actor=actor, reason=reason)
    return to_version(context, version, actor=actor, reason=reason)


def _to_base(context: Context, *, actor: str, reason: str) -> Promotion:
    """Promote the version without any edit. It is gated like every other, once."""
    champion = context.ledger.champions.current()
    if champion is None:
        raise NotPromotable("the backbone serves already: no version has been promoted yet.")
    empty = context.versions.open(BASE)
    if champion.version == empty.id:
        return Promotion(empty.id, empty.id, context.ledger.versions.get(empty.id).registry_version)
    if not _passed(context.ledger, empty.id):
        context.versions.save(empty)
        gated, _ = gate(context, TrainedJob("", champion.version, empty.id))
        gone = tuple(context.versions.open(champion.version).edits)
        record(context.ledger, gated, BASE, None, (), gone, {}, dict.fromkeys(gone, reason))
        if not gated.passed:
            raise NotPromotable(
                f"the backbone without edits failed its gate: {gated.reason}. The champion stays; "
                f"see `melo versions show {empty.id[:12]}`."
            )
    return promote(
        context,
        empty.id,
        expected=champion.version,
        actor=actor,
        reason=reason,
        going_back=True,
    )


def _passed(ledger: Ledger, version: str) -> bool:
    """Whether a version is on record, with its files, and has passed its gate."""
    return any(
        v.id == version and v.verdict == "passed" and not v.info.get("deleted")
        for v in ledger.versions.all()
    )
