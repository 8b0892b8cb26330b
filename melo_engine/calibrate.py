"""How far each key reaches: measured on near-misses, not set by hand.

One number is given, the share of false activations allowed on the prompts around the edits. For
each request near-misses are made (`near_misses`): its wording about other subjects, its subject in
other wordings, and the locality probes that came with it. In traffic the first kind is by far the
commonest, so the mix counts `SUBJECT_SHARE` prompts about other subjects for each one about the
same subject. The reach common to all keys is the quantile at which the mix stays within the
allowance. How near the whole of a prompt must be that only partly names a subject (`descriptions`)
is the same quantile of the same near-misses, by content. Then each key is cut to leave the locality
probes outside that came with it, and where its question stands for its subject, the question without
it. On a causal model it also leaves the prompt outside as it stands once answered, and that of a passage
reaches no further than half the way to where the passage ends otherwise. Keys of different answers need
no cut: a prompt goes to the nearest, and two edits within one another's reach are a contradiction, which
is settled before training (`editor`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from melo_engine.descriptions import Description, describes, question_of, stems_of
from melo_engine.keys import KeyReader
from melo_engine.near_misses import NearMisses, about_something, answered, other_places
from melo_engine.subjects import name_in, words
from melo_engine.types import EditRequest

Asked = tuple[str, str | None]  # a prompt, and the subject left out of its key's relation part
Pair = tuple[tuple[Asked, ...], Asked]  # edits' prompts, and one that none of them must catch
SUBJECT_SHARE = 9  # near-misses about other subjects for each one about the same subject
MISSES = 3  # made for each request and kind
RESERVE = 0.2  # of the allowance: some hundred near-misses tell the share only roughly
CLEARANCE = 0.98  # of the distance to a prompt that must stay outside
HALF_WAY = 0.5  # of the distance to another place in the edit's own passage
FALLBACK_BOUND, FALLBACK_FREE = 0.55, 0.35  # where there is nothing to measure on
SMALLEST_SAMPLE, LARGE_SAMPLE = 20, 600
PART = 100  # requests measured before the sample is counted again


class Gap(NamedTuple):
    """How far a near-miss lies from an edit's key, by each part of it."""

    relation: float
    content: float


class Radii(NamedTuple):
    """How far one key reaches: its own, and to prompts that name its subject only partly.

    by_question: whether its question as a whole may stand for the subject.
    """

    own: float
    content: float
    by_question: bool = False


@dataclass(frozen=True, slots=True)
class Gaps:
    """Distances between requests and their near-misses, in units of the key space; of: whose they are."""

    of: frozenset[str] = frozenset()
    found: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """The reach common to all bound and to all free edits, in units of the key space.

    partly: of bound ones to prompts that name their subject partly; 0 where nothing was measured.
    sample, free_sample: near-misses that bound and free were measured on; with few of them they are
    measured again as more come. gaps, free_gaps: of the requests they were measured on, which are not
    read again then; empty where the reach comes from a file.
    """

    bound: float
    free: float
    sample: int = 0
    free_sample: int = 0
    partly: float = 0.0
    gaps: Gaps = field(default_factory=Gaps, repr=False, compare=False)
    free_gaps: Gaps = field(default_factory=Gaps, repr=False, compare=False)

    def settled(self, requests: Sequence[EditRequest]) -> bool:
        """Whether it was measured on enough for these."""
        bound, free = any(r.subject for r in requests), not all(r.subject for r in requests)
        return (not bound or self.sample >= LARGE_SAMPLE) and (
            not free or self.free_sample >= LARGE_SAMPLE
        )


def measure_reach(
    reader: KeyReader,
    requests: Sequence[EditRequest],
    false_activations: float,
    near: Sequence[EditRequest] = (),
    subjects: Sequence[str] = (),
    seed: int = 0,
    limit: int = 200,
    known: Mapping[Asked, np.ndarray] | None = None,
    before: Reach | None = None,
) -> Reach:
    """The largest common reach at which near-misses stay within `false_activations` (0..1).

    limit: requests looked at. near: other known edits. They lend their wordings, and stand in for
    requests where there are fewer than half of `limit`, but no more of them than of the requests: the
    key projection may have been learned from them, and keeps apart best what it has seen. subjects:
    names to put into the requests' prompts, those of the requests where none are given. known: keys
    (K,) that were read before. before: what was measured earlier; its requests count, and are not
    measured again.
    """
    found = before = before or Reach(FALLBACK_BOUND, FALLBACK_FREE)
    ruler = _Ruler(reader, requests, near, subjects, seed, known or {})
    lenders = [r for r in near if r.subject]
    if bound := [r for r in requests if r.subject]:
        gaps, sample = _grown(before.gaps, bound, lenders, limit, ruler.bound_gaps)
        found = replace(found, gaps=gaps, sample=len(sample))
        if len(sample) >= SMALLEST_SAMPLE:
            # Prompts about other subjects never reach a bound edit: the same-subject share may take all.
            allowed = min(1.0, false_activations * (SUBJECT_SHARE + 1))
            found = replace(
                found,
                bound=_quantile([gap.relation for gap in sample], allowed),
                partly=_quantile([gap.content for gap in sample], allowed),
            )
    if not all(r.subject for r in requests):
        gaps, sample = _grown(before.free_gaps, requests, lenders, limit, ruler.free_gaps)
        found = replace(found, free_gaps=gaps, free_sample=len(sample))
        if len(sample) >= SMALLEST_SAMPLE:
            found = replace(
                found, free=_quantile([gap.content for gap in sample], false_activations)
            )
    return found


class _Ruler:
    """Makes near-misses of requests and measures how far from an edit's key they lie."""

    def __init__(
        self,
        reader: KeyReader,
        requests: Sequence[EditRequest],
        near: Sequence[EditRequest],
        subjects: Sequence[str],
        seed: int,
        known: Mapping[Asked, np.ndarray],
    ) -> None:
        self._reader, self._subjects, self._keys = reader, subjects, dict(known)
        self._made = NearMisses([*requests, *near], seed)
        self._siblings: defaultdict[str, list[EditRequest]] = defaultdict(list)
        for request in requests:
            if request.subject:
                self._siblings[_subject(request)].append(request)

    def bound_gaps(self, requests: Sequence[EditRequest]) -> tuple[Gap, ...]:
        """To their subjects in other wordings: by these bound edits are told apart."""
        return self._gaps([pair for r in requests for pair in self._relation(r)])

    def free_gaps(self, requests: Sequence[EditRequest]) -> tuple[Gap, ...]:
        """To everything that must not reach a free edit."""
        return self._gaps([pair for r in requests for pair in self._content(r)])

    def _relation(self, request: EditRequest) -> list[Pair]:
        """A near-miss counts by the nearest edit of its subject: any of them may catch it."""
        siblings = self._siblings.get(_subject(request), [])
        misses = self._made.other_relations(request, MISSES, besides=siblings)
        own = tuple(dict.fromkeys(_asked(r, r.prompt) for r in (request, *siblings)))
        return [(own, _asked(request, miss)) for miss in misses]

    def _content(self, request: EditRequest) -> list[Pair]:
        misses = self._made.other_subjects(request, MISSES, self._subjects)
        if not request.subject:
            misses += request.locality[:MISSES]
        own = (_asked(request, request.prompt),)
        return self._relation(request) + [(own, (miss, None)) for miss in misses]

    def _gaps(self, pairs: Sequence[Pair]) -> tuple[Gap, ...]:
        _read_into(self._keys, self._reader, [a for own, miss in pairs for a in (*own, miss)])
        split = self._reader.projection.relation_size
        found = []
        for own, miss in pairs:
            apart = [self._keys[one] - self._keys[miss] for one in own]  # (K,) each
            found.append(
                Gap(
                    min(float(np.linalg.norm(a[:split])) for a in apart),
                    min(float(np.linalg.norm(a[split:])) for a in apart),
                )
            )
        return tuple(found)


def _grown(
    gaps: Gaps,
    requests: Sequence[EditRequest],
    lenders: Sequence[EditRequest],
    limit: int,
    measure: Callable[[Sequence[EditRequest]], tuple[Gap, ...]],
) -> tuple[Gaps, tuple[Gap, ...]]:
    """The gaps with those of new requests, as room allows; and the sample: lent ones too where few.

    No more are measured once a large sample is there, which some kinds make of fewer requests.
    """
    own = _spread([r for r in requests if r.id not in gaps.of], limit - len(gaps.of))
    for start in range(0, len(own), PART):
        if len(gaps.found) < LARGE_SAMPLE:
            part = own[start : start + PART]
            gaps = Gaps(gaps.of | {r.id for r in part}, gaps.found + measure(part))
    lent = lenders[: min(max(limit // 2 - len(gaps.of), 0), max(len(gaps.of), 1))]
    return gaps, gaps.found + measure(lent)


def _subject(request: EditRequest) -> str:
    return "".join(words(request.subject or ""))


def _quantile(gaps: Sequence[float], share: float) -> float:
    return float(np.quantile(gaps, share * (1 - RESERVE), method="lower"))


def _read_into(keys: dict[Asked, np.ndarray], reader: KeyReader, asked: Sequence[Asked]) -> None:
    """Read the keys that are not there yet."""
    unread = [side for side in dict.fromkeys(asked) if side not in keys]
    if unread:
        read = reader.read([prompt for prompt, _ in unread], [name for _, name in unread])
        keys |= zip(unread, read, strict=True)


def _asked(request: EditRequest, prompt: str) -> Asked:
    return prompt, name_in(prompt, request.names)


def _spread(items: list[EditRequest], limit: int) -> list[EditRequest]:
    """Up to `limit` of them, spread over all."""
    if limit <= 0:
        return []
    return items[:: max(1, len(items) // limit)][:limit]


def radii(
    requests: Sequence[EditRequest], keys: np.ndarray, reach: Reach, reader: KeyReader
) -> list[Radii]:
    """Each request's radii: the common reach, cut to leave its locality probes outside.

    keys: (N, K), of the requests' prompts. A bound edit is not cut by probes that don't name its
    subject, which can't reach it; they are not even read. Only a causal model goes on from where a
    prompt ends, so only there its other places are looked at.
    """
    continues = reader.backbone.task == "causal-lm"
    questions = [question_of(r.prompt, r.names) for r in requests]
    described = [
        [d for text in (*r.names, *([q] if q else [])) if (d := describes(text))]
        for r, q in zip(requests, questions, strict=True)
    ]
    probes = [[*r.locality, *(answered(r) if continues else ())] for r in requests]
    for request, question, own_probes in zip(requests, questions, probes, strict=True):
        if question:
            elsewhere = about_something(request)
            own_probes += [p for p in elsewhere if name_in(p, request.names) is None]
    near = _own_gaps(requests, keys, described, probes, reader)
    passages = [other_places(r) if continues else [] for r in requests]
    places = _own_gaps(requests, keys, described, passages, reader)
    found = []
    for i, request in enumerate(requests):
        cuts = [(named, CLEARANCE * gap) for named, gap in near[i]]
        cuts += [(named, HALF_WAY * gap) for named, gap in places[i]]
        if request.names:
            own = min([reach.bound, *(cut for named, cut in cuts if named)])
            content = reach.partly if described[i] else 0.0
            content = min([content, *(cut for named, cut in cuts if not named)])
        else:
            own, content = min([reach.free, *(cut for _, cut in cuts)]), 0.0
        found.append(Radii(own, content, bool(questions[i]) and content > 0))
    return found


def _own_gaps(
    requests: Sequence[EditRequest],
    keys: np.ndarray,
    described: Sequence[Sequence[Description]],
    probes: Sequence[Sequence[str]],
    reader: KeyReader,
) -> list[list[tuple[bool, float]]]:
    """From each request's key to those of its probes that can reach it, and whether these name it.

    By the part of the key by which they would: its relation where the subject is named, else content.
    """
    near: list[list[Asked]] = []
    for request, descriptions, texts in zip(requests, described, probes, strict=True):
        near.append([])
        for asked in (_asked(request, text) for text in texts if reader.backbone.takes(text)):
            stems = stems_of(asked[0]) if descriptions else frozenset()
            partly = any(description.partly_in(stems) for description in descriptions)
            if not request.names or asked[1] is not None or partly:
                near[-1].append(asked)
    probe_keys: dict[Asked, np.ndarray] = {}
    _read_into(probe_keys, reader, [asked for some in near for asked in some])
    split = reader.projection.relation_size
    apart: list[list[tuple[bool, float]]] = []
    for key, some in zip(keys, near, strict=True):
        apart.append([])
        for asked in some:
            part = slice(0, split) if asked[1] is not None else slice(split, None)
            gap = float(np.linalg.norm(probe_keys[asked][part] - key[part]))
            apart[-1].append((asked[1] is not None, gap))
    return apart
