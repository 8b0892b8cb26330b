"""The step: an earlier version serves again, or the backbone as it was before any edit."""

from __future__ import annotations

from execution.context import Context
from execution.lineage import BASE
from ledger import Ledger
from melo_engine import Version
from tasks.edit import TrainedJob
from tasks.errors import NotPromotable
from tasks.judge import VersionDiff, gate, record
from tasks.register import Promotion, promote


def roll_back(context: Context, version: str | None, *, actor: str, reason: str) -> Promotion:
    """Let a version serve again: the given one, `base`, or the champion before this one.

    What was revoked since serves again, on record. Raises NotPromotable where there is none, or where
    it fails its gate.
    """
    champion = context.ledger.champions.current()
    if version == BASE:
        if champion is None:
            raise NotPromotable("the backbone serves already: no version has been promoted yet.")
        empty = context.versions.open(BASE)
        if champion.version == empty.id:
            number = context.ledger.versions.get(empty.id).registry_version
            return Promotion(empty.id, empty.id, number)
        _gate_base(context, empty, champion.version, reason)
        version = empty.id
    elif champion is None or (version is None and champion.previous is None):
        raise NotPromotable("there is no earlier champion to go back to. See `melo versions log`.")
    back, now = version or champion.previous or "", champion.version
    return promote(context, back, expected=now, actor=actor, reason=reason, going_back=True)


def _gate_base(context: Context, empty: Version, champion: str, reason: str) -> None:
    """Gate the version without any edit like every other, once."""
    if _passed(context.ledger, empty.id):
        return
    context.versions.save(empty)
    gated, _ = gate(context, TrainedJob("", champion, empty.id))
    gone = tuple(context.versions.open(champion).edits)
    diff = VersionDiff(BASE, removed=gone, removals=dict.fromkeys(gone, reason))
    record(context.ledger, gated, diff)
    if not gated.passed:
        raise NotPromotable(
            f"the backbone without edits failed its gate: {gated.reason}. The champion stays; "
            f"see `melo versions show {empty.id[:12]}`."
        )


def _passed(ledger: Ledger, version: str) -> bool:
    """Whether a version is on record, with its files, and has passed its gate."""
    return any(
        v.id == version and v.verdict == "passed" and not v.info.get("deleted")
        for v in ledger.versions.all()
    )
