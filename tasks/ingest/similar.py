"""The same question in other words: near-duplicates by the engine's keys.

    prompts ──embed──► keys (N, K), unit length ──► pairs nearer than a threshold ──► groups

`embed` is handed in, so that nothing here loads a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from config import Settings
from ledger import Edit, Ledger
from tasks.ingest.step import rules_from

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
ROWS_AT_ONCE = 2048


def group_similar(
    ledger: Ledger, settings: Settings, embed: Embed, *, threshold: float | None = None
) -> dict[str, list[str]]:
    """Group edits whose questions are alike, record the groups, settle what contradicts in them.

    Looks at edits that are ready, in a job or active. Returns the groups of two or more:
    {group: edit ids}, a group being named after its first edit.
    """
    edits = [
        edit
        for state in ("ready", "planned", "trained", "active")
        for edit in ledger.edits(state=state)
    ]
    limit = settings.contradictions.alike if threshold is None else threshold
    groups = similar(edits, embed, limit)
    ledger.set_groups(
        {edit_id: name for name, members in groups.items() for edit_id in members},
        rules=rules_from(settings),
    )
    ledger.publish()
    return groups


def similar(edits: Sequence[Edit], embed: Embed, threshold: float) -> dict[str, list[str]]:
    """Connected components of the pairs whose keys' cosine is at least `threshold`."""
    if len(edits) < 2:
        return {}
    keys = np.asarray(embed([edit.prompt for edit in edits]), dtype=np.float32)  # (N, K)
    keys /= np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12)
    parent = list(range(len(edits)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for begin in range(0, len(edits), ROWS_AT_ONCE):
        alike = keys[begin : begin + ROWS_AT_ONCE] @ keys[begin:].T >= threshold  # (R, N - begin)
        for row, column in np.argwhere(np.triu(alike, 1)):
            one, other = root(begin + int(row)), root(begin + int(column))
            parent[max(one, other)] = min(one, other)
    groups: dict[int, list[str]] = {}
    for place, edit in enumerate(edits):
        groups.setdefault(root(place), []).append(edit.id)
    return {edits[first].id: members for first, members in groups.items() if len(members) > 1}
