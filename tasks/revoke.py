"""The step: take edits out of the model at once. Nothing is trained; the result is gated.

The wish is on record before anything is done: where this process dies, the next run's plan finds
it.
"""

from __future__ import annotations

from dataclasses import dataclass

from execution.context import Context
from tasks.edit import TrainedJob
from tasks.errors import NotPromotable
from tasks.judge import VersionDiff, gate, record
from tasks.register import Promotion, promote
from tasks.register.promote import base_to_serve


@dataclass(frozen=True)
class Revoked:
    """ended: edits that were in no version. removed: those taken out with the promoted version."""

    ended: tuple[str, ...]
    removed: tuple[str, ...]
    version: str | None
    promotion: Promotion | None = None


def revoke(context: Context, edits: list[str], *, actor: str, reason: str) -> Revoked:
    """Revoke edits: those in force leave with a new version, which is promoted.

    Raises UnknownId, IllegalTransition; NotPromotable where the version fails its gate.
    """
    ended, later = context.ledger.removals.request(edits, actor=actor, reason=reason)
    champion = context.ledger.champions.current()
    base = base_to_serve(context)
    if not later or base is None:
        return Revoked(tuple(ended), (), None)
    before = context.versions.open(base)
    gone = [edit for edit in later if edit in before]
    version = before.without(gone)
    context.versions.save(version)
    gated, _ = gate(context, TrainedJob("", base, version.id))
    added = tuple(e for e in gated.version.edits if e not in before)
    removed = tuple(e for e in before.edits if e not in gated.version)
    with context.ledger.store.write():
        diff = VersionDiff(base, added, removed, removals=dict.fromkeys(gone, reason))
        record(context.ledger, gated, diff)
    if not gated.passed:
        raise NotPromotable(
            f"the version without {', '.join(e[:12] for e in gone)} failed its gate: "
            f"{gated.reason}. The champion stays; see `melo versions show {gated.version.id[:12]}`."
        )
    serving = champion.version if champion else None
    done = promote(context, gated.version.id, expected=serving, actor=actor, reason=reason)
    return Revoked(tuple(ended), tuple(gone), gated.version.id, done)
