"""Edits that ask the same, by their keys, with different targets. They are reported, not settled.

Which of them goes out of force is decided where the reports, their sources and dates are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from melo_engine.contrast.parallels import one_word_apart
from melo_engine.errors import RequestError
from melo_engine.index import Member, NeuronIndex
from melo_engine.matching import joined
from melo_engine.near_misses import same_passage
from melo_engine.types import Conflict, EditOutcome, EditRequest
from melo_engine.version import Version
from text import normalize_question


def likely_conflicts(
    requests: Sequence[EditRequest],
    keys: Mapping[str, np.ndarray],
    radius: Mapping[str, float],
    version: Version,
) -> list[Conflict]:
    """Pairs of edits of which one's prompt lies within the other's radius, with different targets.

    radius: of each request. Rivals are edits in force and earlier requests. Two places of one passage
    are two questions, and so are two that differ in one word, however near they lie: a prompt goes to
    the nearest.
    """
    projection = version.projection
    new_index = NeuronIndex(
        projection.size, projection.relation_size, distances=projection.distances
    )
    by_id = {r.id: r for r in requests}
    conflicts = []
    for order, request in enumerate(requests):
        key, request_radius = keys[request.id], radius[request.id]
        bound, free = (request_radius, 0.0) if request.names else (0.0, request_radius)
        in_force = version.conversation_index if request.needs_conversation else version.index
        rivals = {
            m.edit: m
            for index in (in_force, new_index)
            for m in index.around(key, request.question, bound, free)
        }
        for rival in rivals.values():
            other = by_id.get(rival.edit) or version[rival.edit].request
            if (
                rival.edit != request.id
                and other.target.strip() != request.target.strip()
                and other.needs_conversation == request.needs_conversation
                and not same_passage(request.question, other.question)
                and not one_word_apart(request.question, other.question)
            ):
                bound = bool(request.names and other.names)
                distance = projection.distance(rival.key, key, by_relation=bound)
                same = bool({joined(n) for n in request.names} & {joined(n) for n in other.names})
                conflicts.append(Conflict(request.id, rival.edit, distance, same))
        own = projection.as_edits(key[None])[0]
        new_index.add([Member(request.id, own, request_radius, request.names, order)])
    return conflicts


def contradictory_requests(requests: Sequence[EditRequest]) -> dict[str, EditOutcome]:
    """Requests of one call that give one prompt different targets: all of them fail, by name.

    Raises RequestError where an id comes twice.
    """
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
                    f'prompt "{request.question[:80]}" is to give {targets} in one call. '
                    "Decide for one.",
                )
    doubled = [i for i, n in Counter(r.id for r in requests).items() if n > 1]
    if doubled:
        raise RequestError(f"edit id {doubled[0]} comes twice in one call; ids must differ.")
    return failed


def _identity(request: EditRequest) -> tuple[str, str]:
    return normalize_question(request.question), joined(request.subject or "")
