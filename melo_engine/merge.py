"""Merge edits that were trained separately upon one version.

Blocks never overlap, so merging is concatenation. What no part could see is reported: edits of different
parts that ask the same by their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from melo_engine.conflicts import likely_conflicts
from melo_engine.editor import EditResult
from melo_engine.version import Edit, Version


def merge_parts(base: Version, parts: Sequence[EditResult]) -> EditResult:
    """One version of all that the parts add to `base` and take out of it.

    parts: each of one `Editor.edit` upon `base`, the earlier edits first.
    """
    start = max((edit.order for edit in base.edits.values()), default=-1) + 1
    new: list[Edit] = []
    shards = {name: shard for part in parts for name, shard in part.version.shards.items()}
    for part in parts:
        for edit in part.version.edits.values():
            if edit.id not in base.edits or edit.order >= start:
                new.append(replace(edit, order=start + len(new)))
    removed = [e for e in base.edits if any(e not in part.version for part in parts)]
    version = base.without(removed) if removed else base
    keys = {edit.id: shards[edit.shard].keys[edit.row] for edit in new}
    radius = {edit.id: edit.radius for edit in new}
    conflicts = likely_conflicts([edit.request for edit in new], keys, radius, version)
    version = version.with_edits(new, [shards[edit.shard] for edit in new])
    outcomes = tuple(o for part in parts for o in part.outcomes)
    return EditResult(replace(version, parent=base.id), outcomes, tuple(conflicts))
