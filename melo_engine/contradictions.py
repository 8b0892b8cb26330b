"""Which edits can't both be in force, and which of them stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from melo_engine.errors import RequestError
from melo_engine.index import Member, NeuronIndex
from melo_engine.near_misses import of_one_passage
from melo_engine.types import EditOutcome, EditRequest
from melo_engine.version import Version
from text import normalize_question


def contradicted(
    requests: Sequence[EditRequest],
    keys: Mapping[str, np.ndarray],
    radius: Mapping[str, float],
    version: Version,
) -> dict[str, str]:
    """Edits that a later request contradicts: {loser: winner}.

    radius: of each request. Two edits contradict each other where one's prompt lies within the radius of
    the other, so that they would answer the same question, with different targets. The later one wins.
    Two places of one passage are two questions, however near they lie: a prompt goes to the nearest.
    """
    together = NeuronIndex(version.projection.size, version.projection.relation_size)
    in_force = version.index
    losers: dict[str, str] = {}
    asked = {r.id: r for r in requests}
    for order, request in enumerate(requests):
        key = keys[request.id]
        own = radius[request.id]
        bound, free = (own, 0.0) if request.names else (0.0, own)
        rivals = together.around(key, request.prompt, bound, free)
        rivals += in_force.around(key, request.prompt, bound, free)
        for rival in rivals:
            other = asked.get(rival.edit) or version[rival.edit].request
            alike = other.target.strip() == request.target.strip()
            if (
                rival.edit != request.id
                and not alike
                and not of_one_passage(request.prompt, other.prompt)
            ):
                losers[rival.edit] = request.id
                if rival.edit in together:
                    together.remove([rival.edit])
        together.add([Member(request.id, key, own, request.names, order)])
    return losers


def superseded(loser: str, winner: str) -> EditOutcome:
    """What became of an edit that lost."""
    reason = f"edit {winner} answers the same question differently and came later"
    return EditOutcome(loser, "superseded", reason)


def _identity(request: EditRequest) -> tuple[str, str]:
    return normalize_question(request.prompt), normalize_question(request.subject or "")


def conflicts(requests: Sequence[EditRequest]) -> dict[str, EditOutcome]:
    """Requests of one call that give one prompt different targets: all of them fail, by name."""
    by_prompt: dict[tuple[str, str], list[EditRequest]] = {}
    for request in requests:
        by_prompt.setdefault(_identity(request), []).append(request)
    failed = {}
    for group in by_prompt.values():
        if len({r.target.strip() for r in group}) > 1:
            targets = ", ".join(f'"{r.target}" (edit {r.id})' for r in group)
            for request in group:
                failed[request.id] = EditOutcome(
                    request.id,
                    "failed",
                    f'prompt "{request.prompt[:80]}" is to give {targets} in one call. Decide for one.',
                )
    doubled = [i for i, n in Counter(r.id for r in requests).items() if n > 1]
    if doubled:
        raise RequestError(f"edit id {doubled[0]} comes twice in one call; ids must differ.")
    return failed
