"""How far each key reaches: measured on near-misses, not set by hand.

One number is given, the share of false activations allowed on the prompts around the edits. For
each request near-misses are made (`near_misses`): its wording about other subjects, its subject in
other wordings, and the locality probes that came with it. In traffic the first kind is by far the
commonest, so the mix counts `SUBJECT_SHARE` prompts about other subjects for each one about the
same subject. The reach common to all keys is the quantile at which the mix stays within the
allowance. Then each key is cut to leave the locality probes outside that came with it. Keys of
different answers need no cut: a prompt goes to the nearest, and two edits within one another's
reach are a contradiction, which is settled before training (`editor`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from melo_engine.keys import KeyReader
from melo_engine.near_misses import NearMisses
from melo_engine.subjects import name_in
from melo_engine.types import EditRequest

Asked = tuple[str, str | None]  # a prompt, and the subject left out of its key's relation part
SUBJECT_SHARE = 9  # near-misses about other subjects for each one about the same subject
MISSES = 3  # made for each request and kind
CLEARANCE = 0.98  # of the distance to a prompt that must stay outside
FALLBACK_BOUND, FALLBACK_FREE = 0.55, 0.35  # where there is nothing to measure on
SMALLEST_SAMPLE, LARGE_SAMPLE = 20, 600


@dataclass(frozen=True, slots=True)
class Reach:
    """The reach common to all bound and to all free edits, in units of the key space.

    sample: near-misses it was measured on; with few of them it is measured again as more come.
    """

    bound: float
    free: float
    sample: int = 0

    @property
    def settled(self) -> bool:
        """Whether it was measured on enough."""
        return self.sample >= LARGE_SAMPLE


def measure_reach(
    reader: KeyReader,
    requests: Sequence[EditRequest],
    false_activations: float,
    near: Sequence[EditRequest] = (),
    subjects: Sequence[str] = (),
    seed: int = 0,
    limit: int = 200,
    known: Mapping[Asked, np.ndarray] | None = None,
) -> Reach:
    """The largest common reach at which near-misses stay within `false_activations` (0..1).

    near: other known edits. They lend their wordings, and stand in for requests where there are fewer
    than `limit`, but no more of them than of the requests: the key projection may have been learned
    from them, and keeps apart best what it has seen. subjects: names to put into the requests' prompts,
    those of the requests where none are given. known: keys (K,) that were read before.
    """
    made = NearMisses([*requests, *near], seed)
    bound, free = _sample(requests, near, limit)
    relation = [
        (_asked(r, r.prompt), _asked(r, miss))
        for r in bound
        for miss in made.other_relations(r, MISSES)
    ]
    others: list[tuple[Asked, Asked]] = [
        (_asked(r, r.prompt), (miss, None))
        for r in free
        for miss in (*made.other_subjects(r, MISSES, subjects), *r.locality[:MISSES])
    ]
    if free:  # bound edits are told apart by the relation part alone
        others += relation + [
            (_asked(r, r.prompt), (miss, None))
            for r in bound
            for miss in made.other_subjects(r, MISSES, subjects)
        ]
    asked = list(dict.fromkeys(side for pair in (*relation, *others) for side in pair))
    keys = dict(known or {})
    unread = [side for side in asked if side not in keys]
    if unread:
        read = reader.read([prompt for prompt, _ in unread], [name for _, name in unread])
        keys |= dict(zip(unread, read, strict=True))
    split = reader.projection.relation_size

    def reach(pairs: list[tuple[Asked, Asked]], part: slice, share: float) -> float:
        gaps = [float(np.linalg.norm(keys[a][part] - keys[b][part])) for a, b in pairs]
        # Few near-misses tell the share roughly: half a standard error of it is kept in reserve.
        reserve = 0.5 * math.sqrt(share * (1 - share) / len(gaps))
        return float(np.quantile(gaps, max(0.0, share - reserve), method="lower"))

    found = Reach(FALLBACK_BOUND, FALLBACK_FREE, len(others) if free else len(relation))
    if len(relation) >= SMALLEST_SAMPLE:
        # Prompts about other subjects never reach a bound edit: the same-subject share may take all.
        allowed = min(1.0, false_activations * (SUBJECT_SHARE + 1))
        found = replace(found, bound=reach(relation, slice(0, split), allowed))
    if len(others) >= SMALLEST_SAMPLE:
        found = replace(found, free=reach(others, slice(split, None), false_activations))
    return found


def _asked(request: EditRequest, prompt: str) -> Asked:
    return prompt, name_in(prompt, request.names)


def _sample(
    requests: Sequence[EditRequest], near: Sequence[EditRequest], limit: int
) -> tuple[list[EditRequest], list[EditRequest]]:
    """Up to `limit` requests with a subject and without, spread over all of them."""
    own = [r for r in requests if r.subject]
    lent = [r for r in near if r.subject][: min(max(limit - len(own), 0), max(len(own), 1))]
    free = [r for r in requests if not r.subject]
    return _spread([*own, *lent], limit), _spread(free, limit)


def _spread(items: list[EditRequest], limit: int) -> list[EditRequest]:
    return items[:: max(1, len(items) // limit)][:limit]


def radii(
    requests: Sequence[EditRequest], keys: np.ndarray, reach: Reach, reader: KeyReader
) -> list[float]:
    """Each request's radius: the common reach, cut to leave its locality probes outside.

    keys: (N, K), of the requests' prompts. A bound edit is not cut by probes that lack its subject,
    which can't reach it; they are not even read.
    """
    near = [
        [
            asked
            for asked in (_asked(request, probe) for probe in request.locality)
            if not request.names or asked[1] is not None
        ]
        for request in requests
    ]
    probes = list(dict.fromkeys(asked for some in near for asked in some))
    probe_keys = {}
    if probes:
        read = reader.read([prompt for prompt, _ in probes], [name for _, name in probes])
        probe_keys = dict(zip(probes, read, strict=True))
    split = reader.projection.relation_size
    found = []
    for request, key, some in zip(requests, keys, near, strict=True):
        part = slice(0, split) if request.names else slice(split, None)
        gaps = [float(np.linalg.norm(probe_keys[asked][part] - key[part])) for asked in some]
        common = reach.bound if request.names else reach.free
        found.append(min([common, *(CLEARANCE * gap for gap in gaps)]))
    return found
