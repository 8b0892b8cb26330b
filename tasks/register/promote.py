"""Promotion: which version serves. Compare-and-set in the ledger; the registry's aliases follow.

    passed gate of the very same content? ──► champion still the expected one? ──► edits settled
                                                                                └► aliases follow

The champion and the states of its edits change in one transaction. Edits of the old champion that
the new one lacks are superseded, revoked or expired, as was asked; edits that come back with an
older version are taken through their states again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from artifacts.manifest import read_manifest
from artifacts.tags import CHAMPION, PREVIOUS
from config import Settings
from execution.context import Context
from execution.lineage import descends, head
from ledger import Champion, ChampionMoved, IllegalTransition, Ledger, VersionRecord
from registry.store import Registry
from tasks.errors import NotPromotable
from tasks.register.upload import register

BACK = ("received", "ready", "planned", "trained")  # the way of an edit that serves again
WITHDRAWN = ("revoked", "expired", "rejected")


@dataclass(frozen=True)
class Promotion:
    """version serves since now; before: the champion until now."""

    version: str
    before: str | None
    number: str | None
    superseded: tuple[str, ...] = ()


def promote(
    context: Context,
    version: str,
    *,
    expected: str | None,
    actor: str,
    reason: str,
    going_back: bool = False,
    note: Callable[[str], object] | None = None,
) -> Promotion:
    """Make a version the champion if `expected` still is; None: none yet.

    note: called with its id in the same transaction, to put on record what comes with it. Raises
    NotPromotable for a version whose very content has not passed a gate or that holds edits which were
    withdrawn meanwhile; ChampionMoved.
    """
    record = context.ledger.versions.get(version)
    _refuse_ungated(context.settings, record)
    number = register(context, record.id)
    ids = list(context.versions.open(record.id).edits)
    with context.ledger.store.write():
        _refuse_deleted(context.ledger.versions.get(record.id))
        champion = context.ledger.champions.current()
        before = champion.version if champion else None
        if before == record.id:
            superseded: list[str] = []
        else:
            context.ledger.champions.set(record.id, expected=expected, actor=actor, reason=reason)
            superseded = _settle(context.ledger, record, ids, actor, reason, going_back)
        if note is not None:
            note(record.id)
    follow(context)
    return Promotion(record.id, before, number, tuple(superseded))


def base_to_serve(context: Context) -> str | None:
    """What a version that is to serve at once is built upon; None for the backbone.

    Where a person promotes, what waits for that must not come in with it.
    """
    champion = context.ledger.champions.current()
    if champion is not None and context.settings.registry.promotion == "manual":
        return champion.version
    return head(context.ledger)


def advance(context: Context, version: str, *, actor: str) -> Promotion | None:
    """Promote a version that was built upon the champion; None where another one overtook it.

    An active edit that contradicts one of its own overtakes it too. The edits of a version that was
    overtaken are made ready, to be planned anew; what lost a contradiction ends there.
    """
    champion = context.ledger.champions.current()
    now = champion.version if champion else None
    if now == version:
        follow(context)
        return Promotion(version, now, None)
    try:
        if descends(context.ledger, version, now):
            return promote(context, version, expected=now, actor=actor, reason="passed its gate")
    except (ChampionMoved, NotPromotable, IllegalTransition):
        pass
    overtaken(context.ledger, version, actor=actor)
    return None


def overtaken(ledger: Ledger, version: str, *, actor: str) -> None:
    """Make the edits of a version ready again that can't serve any more."""
    why = f"version {version[:12]} was overtaken before it could serve"
    with ledger.store.write():
        trained = ledger.edits.find(state="trained")
        edits = [edit.id for edit in trained if edit.version == version]
        ledger.edits.transition(edits, "ready", actor, why)


def follow(context: Context) -> bool:
    """Set the registry's aliases to what the ledger says; whether one had to be set. Always safe.

    MLflow can't compare before it sets, so the comparison comes after: whoever has set the aliases
    reads the champion on record again, and sets them anew where it has changed meanwhile. So the last
    to set them has compared last, on whichever host, and aliases and record agree once all are done.
    """
    changed = False
    registry = context.registry
    while (champion := context.ledger.champions.current()) is not None:
        changed |= _set_aliases(context, registry, champion)
        if context.ledger.champions.current() == champion:
            break
    return changed


def _set_aliases(context: Context, registry: Registry, champion: Champion) -> bool:
    name = registry.name_for(context.versions.backbone)
    if _number_of(context, registry, name, champion.version) is None:
        register(context, champion.version)
    changed = False
    for alias, version in ((CHAMPION, champion.version), (PREVIOUS, champion.previous)):
        number = _number_of(context, registry, name, version) if version else None
        changed |= registry.set_alias(name, alias, number) and number is not None
    return changed


def _number_of(context: Context, registry: Registry, name: str, version: str) -> str | None:
    """The number that is on record for a version, where the registry has that content under it."""
    number = context.ledger.versions.get(version).registry_version
    return number if registry.holds(name, number, version) else None


def _refuse_deleted(record: VersionRecord) -> None:
    if record.info.get("deleted"):
        raise NotPromotable(f"version {record.id[:12]} was deleted {record.info['deleted']}.")


def _refuse_ungated(settings: Settings, record: VersionRecord) -> None:
    _refuse_deleted(record)
    if record.verdict != "passed":
        verdict = f"it says: {record.reason}" if record.verdict else "no gate has spoken"
        raise NotPromotable(f"version {record.id[:12]} did not pass a gate; {verdict}.")
    on_disk = read_manifest(settings.paths.version(record.id))["id"]
    if not record.hash == record.id == on_disk:
        raise NotPromotable(
            f"version {record.id[:12]} is not what was gated ({record.hash[:12]}, on disk "
            f"{str(on_disk)[:12]}). Gate it again."
        )


def _settle(
    ledger: Ledger, record: VersionRecord, ids: list[str], actor: str, reason: str, going_back: bool
) -> list[str]:
    """Bring the states of the edits in line with the version that serves from now on."""
    states = {edit.id: edit.state for edit in ledger.edits.find(ids=ids)} if ids else {}
    inactive = [edit for edit, state in states.items() if state not in ("trained", "active")]
    withdrawn = [] if going_back else [edit for edit in inactive if states[edit] in WITHDRAWN]
    if withdrawn:
        raise NotPromotable(
            f"version {record.id[:12]} holds edit {withdrawn[0][:12]}, which is "
            f"{states[withdrawn[0]]}. Run `melo run` for a version without it."
        )
    leaving = [edit.id for edit in ledger.edits.active() if edit.id not in states]
    replaced_by: dict[str, str] = dict(record.info.get("superseded") or {})  # type: ignore[call-overload]
    reasons: dict[str, str] = dict(record.info.get("asked") or {})  # type: ignore[call-overload]
    for state in BACK:
        returning = [e for e in inactive if state in _states_ahead(states[e])]
        ledger.edits.transition(returning, state, actor, f"serves again: {reason}", record.id)
    ready = [edit for edit, state in states.items() if state != "active"]
    superseded = ledger.edits.activate(ready, record.id, actor=actor, reason=reason)
    ended = ledger.removals.carry_out(leaving, record.id, actor=actor)
    remaining = {edit.id for edit in ledger.edits.active()}.difference(ended)
    for edit in leaving:
        if edit not in remaining:
            continue
        if edit in reasons and not going_back:
            ledger.removals.finish([edit], record.id, actor=actor, reason=reasons[edit])
        else:
            why = f"edit {replaced_by[edit]} is active" if edit in replaced_by else reason
            ledger.edits.transition([edit], "superseded", actor, why, record.id)
            superseded.append(edit)
    return superseded


def _states_ahead(state: str) -> tuple[str, ...]:
    """The states that an edit of this state still has to pass before it can be active."""
    return BACK[BACK.index(state) + 1 :] if state in BACK else BACK
