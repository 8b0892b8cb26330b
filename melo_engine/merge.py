"""Put together what was trained apart upon one version.

Blocks never overlap, so merging is concatenation. What no part could see is decided here: two edits
of different parts that answer the same question differently. The later one stands, as within one
call of `Editor.edit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from melo_engine.contradictions import contradicted, superseded
from melo_engine.version import Edit, Version


def merge_parts(base: Version, parts: Sequence[Version]) -> Version:
    """One version of all that the parts add to `base` and take out of it.

    parts: each made by one `Editor.edit` upon `base` with one reach, the earlier edits first. The
    outcomes are those of all parts; an edit that lost to one of another part is superseded.
    """
    start = max((edit.order for edit in base.edits.values()), default=-1) + 1
    new: list[Edit] = []
    shards = {name: shard for part in parts for name, shard in part.shards.items()}
    for part in parts:
        for edit in part.edits.values():
            if edit.id not in base.edits or edit.order >= start:
                new.append(replace(edit, order=start + len(new)))
    keys = {edit.id: shards[edit.shard].keys[edit.row] for edit in new}
    nothing = base.without(list(base.edits))
    radius = {edit.id: edit.radius for edit in new}
    losers = contradicted([edit.request for edit in new], keys, radius, nothing)
    outcomes = {o.id: o for part in parts for o in part.outcomes}
    outcomes |= {loser: superseded(loser, winner) for loser, winner in losers.items()}
    gone = [e for e in base.edits if any(e not in part for part in parts)]
    kept = [edit for edit in new if edit.id not in losers]
    version = base.without(gone) if gone else base
    version = version.with_edits(kept, [shards[edit.shard] for edit in kept])
    settings = parts[-1].settings if parts else base.settings
    return replace(
        version, parent=base.id, outcomes=tuple(outcomes.values()), settings=settings
    )  # fmt: skip
