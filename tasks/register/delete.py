"""Delete a version for good: here and in MLflow. Refused while anything stands on it.

The record says so first, in the transaction that looks at what stands on it: from then on nobody
promotes it. Where a process dies after that, the same command does the rest.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from execution.context import Context
from ledger import Ledger, VersionRecord
from registry.errors import RegistryUnreachable
from tasks.errors import NotDeletable
from tasks.register.upload import registering


def delete(context: Context, version: str, *, actor: str, reason: str) -> str:
    """Delete a version's files, its model in MLflow and its number; its record stays.

    Raises NotDeletable for the champion, the one before, one whose edits wait to serve, and one
    whose shards another version refers to; UnknownId.
    """
    with registering(context):
        with context.ledger.store.write():
            record = context.ledger.versions.get(version)
            _refuse_needed(context.ledger, record)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            context.ledger.versions.note(record.id, {"deleted": now})
        try:
            _delete_from_registry(context, record)
        except NotDeletable:
            context.ledger.versions.note(record.id, {"deleted": record.info.get("deleted")})
            raise
    shutil.rmtree(context.paths.version(record.id), ignore_errors=True)
    context.versions.forget_opened()
    context.ledger.events.record("version-deleted", f"by {actor}: {reason}", version=record.id)
    return record.id


def _refuse_needed(ledger: Ledger, record: VersionRecord) -> None:
    name = record.id[:12]
    champion = ledger.champions.current()
    if champion and record.id in (champion.version, champion.previous):
        role = "serves" if record.id == champion.version else "is what `melo rollback` goes back to"
        raise NotDeletable(f"version {name} {role}. Promote another one first.")
    if any(edit.version == record.id for edit in ledger.edits.find(state="trained")):
        raise NotDeletable(f"version {name} holds edits that wait to serve. Promote it, or revoke.")
    model = record.info.get("model")
    users = [
        v.id[:12]
        for v in ledger.versions.all()
        if v.id != record.id and not v.info.get("deleted") and model in _list(v.info.get("refers"))
    ]
    if model and users:
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        raise NotDeletable(
            f"version {name} holds blocks that version {users[0]}{more} refers to. Delete those "
            "first, or fold the champion (`melo versions compact`) so that later ones do not."
        )


def _delete_from_registry(context: Context, record: VersionRecord) -> None:
    """Delete what MLflow has of this content; another one's number stays."""
    registry, number = context.registry, record.registry_version
    model = record.info.get("model")
    try:
        name = registry.name_for(context.versions.backbone)
        there = registry.holds(name, number, record.id)
        registry.delete(name, number if there else None, str(model) if model else None)
    except RegistryUnreachable as error:
        raise NotDeletable(f"MLflow did not let go of version {number}: {error.reason}") from None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
