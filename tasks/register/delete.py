"""Delete a version for good: here and in MLflow. Refused while anything stands on it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from execution.context import Context
from registry.errors import RegistryUnreachable
from tasks.errors import NotDeletable


def delete(context: Context, version: str, *, actor: str, reason: str) -> str:
    """Delete a version's files, its model in MLflow and its number; its record stays.

    Raises NotDeletable for the champion, the one before, one whose edits wait to serve, and one
    whose shards another version refers to; UnknownId.
    """
    record = context.ledger.versions.get(version)
    name = record.id[:12]
    champion = context.ledger.champions.current()
    if champion and record.id in (champion.version, champion.previous):
        role = "serves" if record.id == champion.version else "is what `melo rollback` goes back to"
        raise NotDeletable(f"version {name} {role}. Promote another one first.")
    if any(edit.version == record.id for edit in context.ledger.edits.find(state="trained")):
        raise NotDeletable(f"version {name} holds edits that wait to serve. Promote it, or revoke.")
    model = record.info.get("model")
    users = [
        v.id[:12]
        for v in context.ledger.versions.all()
        if v.id != record.id and not v.info.get("deleted") and model in _list(v.info.get("refers"))
    ]
    if model and users:
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        raise NotDeletable(
            f"version {name} holds blocks that version {users[0]}{more} refers to. Delete those "
            "first, or fold the champion (`melo versions compact`) so that later ones do not."
        )
    _from_registry(context, record.registry_version, str(model) if model else None)
    shutil.rmtree(context.paths.version(record.id), ignore_errors=True)
    context.versions.forget_opened()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    context.ledger.versions.note(record.id, {"deleted": now})
    context.ledger.events.record("version-deleted", f"by {actor}: {reason}", version=record.id)
    return record.id


def _from_registry(context: Context, number: str | None, model: str | None) -> None:
    registry = context.registry
    try:
        registry.delete(registry.name_for(context.versions.backbone), number, model)
    except RegistryUnreachable as error:
        raise NotDeletable(f"MLflow did not let go of version {number}: {error.reason}") from None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
