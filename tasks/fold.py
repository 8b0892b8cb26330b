"""The step: fold the champion's many small shards into one for each rank.

Every job adds a shard. Folding writes the blocks of the edits in force into one, lets every version
on this machine refer to it where the block is the same, and logs the champion once more, whole; so
later versions refer to one place, and what lies elsewhere is needed by nobody new. No block, key or
answer changes, and no version's name: all of them remain loadable, here and from MLflow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from config import Settings
from execution import progress
from execution.context import Context
from melo_engine import Version
from melo_engine.errors import VersionError
from melo_engine.version import compact as folded
from tasks.register import register_whole
from tasks.register.promote import follow

MANY = 32  # shards from which on a champion is folded unasked


@dataclass(frozen=True)
class Folded:
    """before, after: shards of the champion. moved: versions that refer to the new ones now."""

    before: int = 0
    after: int = 0
    moved: int = 0
    number: str | None = None


def fold(context: Context, *, above: int = MANY) -> Folded:
    """Fold the champion's shards where it has more than `above`. Safe to be killed at any time."""
    champion = context.ledger.champions.current()
    if champion is None:
        return Folded()
    version = context.versions.open(champion.version)
    small = folded(version) if len(version.shards) > above else version
    if set(small.shards) == set(version.shards):
        return Folded(len(version.shards), len(version.shards))
    _touch(context.settings, set(version.shards) - set(small.shards))
    small.save(context.paths.version(small.id), context.paths.shards)
    moved = _move_others(context, small)
    context.versions.forget_opened()
    number = register_whole(context, small.id)
    follow(context)
    return Folded(len(version.shards), len(small.shards), moved, number)


def _move_others(context: Context, small: Version) -> int:
    """Let every other version take the blocks that it shares with the folded one from there."""
    place = {edit.block: (edit.shard, edit.row) for edit in small.edits.values()}
    version_ids = [v.id for v in context.ledger.versions.all() if v.id != small.id]
    moved = 0
    for done, version_id in enumerate(version_ids, 1):
        progress.report("folding shards", done, len(version_ids))
        folder = context.paths.version(version_id)
        try:
            version = Version.load(folder, shards=context.paths.shards)
        except VersionError:
            continue  # deleted, or for a person to look at: `melo doctor` and the gate say so
        edits = {
            e.id: replace(e, shard=place[e.block][0], row=place[e.block][1])
            if e.block in place
            else e
            for e in version.edits.values()
        }
        if edits == version.edits:
            continue
        shards = {**version.shards, **small.shards}
        used = {e.shard for e in edits.values()}
        changed = replace(version, edits=edits, shards={k: shards[k] for k in shards if k in used})
        changed.save(folder, context.paths.shards)
        moved += 1
    return moved


def _touch(settings: Settings, shards: set[str]) -> None:
    """Keep shards that nothing will refer to for another day, for processes that have them open."""
    for shard in shards:
        path = settings.paths.shards / shard
        if path.is_dir():
            os.utime(path)
