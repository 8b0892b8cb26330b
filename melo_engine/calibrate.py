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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melo_engine.keys import KeyReader
from melo_engine.near_misses import NearMisses
from melo_engine.subjects import SubjectIndex
from melo_engine.types import EditRequest

SUBJECT_SHARE = 9  # near-misses about other subjects for each one about the same subject
MISSES = 2  # made for each request and kind
CLEARANCE = 0.98  # of the distance to a prompt that must stay outside
FALLBACK_BOUND, FALLBACK_FREE = 0.55, 0.35  # where there is nothing to measure on
SMALLEST_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """The reach common to all bound and to all free edits, in units of the key space."""

    bound: float
    free: float


def measure_reach(
    reader: KeyReader,
    requests: Sequence[EditRequest],
    false_activations: float,
    subjects: Sequence[str] = (),
    seed: int = 0,
    limit: int = 250,
) -> Reach:
    """The largest common reach at which near-misses stay within `false_activations` (0..1).

    subjects: names to put into the requests' prompts, those of the requests where none are given.
    """
    near = NearMisses(requests, seed)
    spread = max(1, len(requests) // limit)
    chosen = [r for r in requests if r.subject][::spread][:limit]
    free_too = any(not r.subject for r in requests)  # else no content part is ever compared
    relation = [(r.prompt, miss) for r in chosen for miss in near.other_relations(r, MISSES)]
    subject = [
        (r.prompt, miss) for r in chosen for miss in near.other_subjects(r, MISSES, subjects)
    ]
    locality = [(r.prompt, probe) for r in chosen for probe in r.locality[:MISSES]]
    prompts = dict.fromkeys(p for pair in (*relation, *subject, *locality) for p in pair)
    keys = dict(zip(prompts, reader.read(list(prompts)), strict=True)) if prompts else {}
    split = reader.projection.relation_size

    def distances(pairs: list[tuple[str, str]], part: slice) -> np.ndarray:
        return np.array([np.linalg.norm(keys[a][part] - keys[b][part]) for a, b in pairs])

    bound = FALLBACK_BOUND
    if len(relation) >= SMALLEST_SAMPLE:
        # Prompts about other subjects never reach a bound edit: the same-subject share may take all.
        allowed = min(1.0, false_activations * (SUBJECT_SHARE + 1))
        bound = float(np.quantile(distances(relation, slice(0, split)), allowed))
    free = FALLBACK_FREE
    others = subject + relation + locality
    if free_too and len(others) >= SMALLEST_SAMPLE:
        free = float(np.quantile(distances(others, slice(split, None)), false_activations))
    return Reach(bound, free)


def radii(
    requests: Sequence[EditRequest], keys: np.ndarray, reach: Reach, reader: KeyReader
) -> list[float]:
    """Each request's radius: the common reach, cut to leave its locality probes outside.

    keys: (N, K), of the requests' prompts. A bound edit is not cut by probes that lack its subject:
    they can't reach it.
    """
    probes = list(dict.fromkeys(p for r in requests for p in r.locality))
    probe_keys = dict(zip(probes, reader.read(probes), strict=True)) if probes else {}
    split = reader.projection.relation_size
    found = []
    for request, key in zip(requests, keys, strict=True):
        part = slice(0, split) if request.names else slice(split, None)
        radius = reach.bound if request.names else reach.free
        own = SubjectIndex()
        own.add(request.names, 0)
        for probe in request.locality:
            if not request.names or own.find(probe):
                gap = float(np.linalg.norm(probe_keys[probe][part] - key[part]))
                radius = min(radius, CLEARANCE * gap)
        found.append(radius)
    return found
