"""How far keys reach: measured on near-misses of what ships, not set by hand and not on what is edited.

One number is given, the share of false activations allowed on prompts around the edits. Some relations
of the contrast corpus are kept from learning (`Corpus.held_out`). For each of their wordings near-misses
are at hand: its wording about other subjects, and its subject in other relations' wordings. In traffic
the first kind is by far the commonest, so the mix counts `SUBJECT_SHARE` prompts about other subjects
for each one about the same subject. A radius is the quantile at which the mix stays within the
allowance. It depends on the encoder, the projection and the allowance alone: every version of a
backbone has the same, whatever was edited first and in which order.

Then each key is cut to leave outside the locality probes that came with it, and where its question
stands for its subject, the question without it. That of a passage reaches no further than half the way
to where the passage ends otherwise. Keys of different answers need no cut: a prompt goes to the nearest.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from melo_engine import subwords
from melo_engine.contrast.corpus import ENGLISH, Relation, corpus_for, other_languages
from melo_engine.keys import PLACEHOLDER, KeyReader
from melo_engine.matching.descriptions import Description, describes, question_of, stems_of
from melo_engine.matching.names import joined, name_in
from melo_engine.near_misses import SLOT, about_something, other_places
from melo_engine.projection import KeyProjection
from melo_engine.types import EditRequest

SUBJECT_SHARE = 9  # near-misses about other subjects for each one about the same subject
# Of the allowance: people's near-misses lie a little nearer than the corpus's. By relation parts where no
# question has leeway, as much as keeps zsRE's within it on rows that no test uses; where questions have
# leeway, a little less than that.
RESERVE, LEEWAY_RESERVE, RELATION_RESERVE = 0.4, 0.2, 0.65
# Letters tell less: times the allowance for languages that are told by them, and so much at most.
LETTERS_SHARE, MOST_BY_LETTERS = 2, 0.5
SCHEME = 5  # of how radii are calibrated; a calibration that was kept under another is made anew
CLEARANCE = 0.98  # of the distance to a prompt that must stay outside
HALF_WAY = 0.5  # of the distance to another place in the edit's own passage
RAW_BOUND, RAW_FREE = 0.55, 0.35  # of keys that nothing was learned for


class Radii(NamedTuple):
    """How far one key reaches: its own, and to prompts that name its subject only partly.

    by_question: whether its question as a whole may stand for the subject.
    """

    own: float
    content: float
    by_question: bool = False


class _Asked(NamedTuple):
    """A wording of a held-out relation about one subject."""

    relation: Relation
    wording: str
    subject: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """The radii common to all edits, in units of the key space.

    bound: of edits bound to a subject; free: of the others; partly: of bound ones to prompts that name
    their subject partly, 0 where that won't do. false_activations: the share they were made for.
    sample: near-misses measured, 0 where there was nothing to measure on. by_letters: of bound edits
    that are told from letters, None where none are.
    """

    bound: float
    free: float
    partly: float
    false_activations: float
    sample: int = 0
    by_letters: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As a manifest has it; as it was written before letters told anything, where they don't."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def raw(cls, false_activations: float) -> Calibration:
        """For keys as they are read, without a learned projection."""
        return cls(RAW_BOUND, RAW_FREE, 0.0, false_activations)


def calibrate(reader: KeyReader, false_activations: float, seed: int = 0) -> Calibration:
    """The largest radii at which near-misses of held-out relations stay within `false_activations`.

    false_activations: 0..1. Deterministic under the seed.
    """
    if not reader.projection.learned:
        return Calibration.raw(false_activations)
    source, chooser = corpus_for(reader.encoder), random.Random(seed)
    asked = [
        _Asked(relation, wording, chooser.choice(source.subjects[relation.language, relation.kind]))
        for relation in source.held_out
        if relation.language == ENGLISH
        for wording in relation.wordings
    ]
    texts = [a.wording.replace(SLOT, a.subject) for a in asked]
    keys = reader.read(texts, [name_in(t, (a.subject,)) for t, a in zip(texts, asked, strict=True)])
    split = reader.projection.relation_size
    # What is asked here is no relation that the projection knows, as most of what people ask.
    read = keys[:, : reader.projection.read_size]
    leeway = reader.projection.leeway(read, first=len(source.learned_from))
    reserve = LEEWAY_RESERVE if len(reader.projection.known) else RELATION_RESERVE
    relation_gaps = _apart(read, leeway, [a.relation.name for a in asked])
    swapped, renamed = [], []
    for a in asked:
        other = chooser.choice([b for b in asked if b.relation != a.relation])
        swapped.append(other.wording.replace(SLOT, a.subject))
        names = source.subjects[a.relation.language, a.relation.kind]
        name = chooser.choice([n for n in names if joined(n) != joined(a.subject)])
        renamed.append(a.wording.replace(SLOT, name))
    contents = reader.read([*swapped, *renamed])[:, split:]
    content_gaps = np.linalg.norm(contents - np.tile(keys[:, split:], (2, 1)), axis=1)  # (2N,)
    same_subject = content_gaps[: len(asked)]
    weights = np.repeat([1.0, SUBJECT_SHARE], len(asked))
    # Prompts about other subjects never reach a bound edit: the same-subject share may take all.
    same_subject_share = min(1.0, false_activations * (SUBJECT_SHARE + 1))
    return Calibration(
        bound=_quantile(
            relation_gaps, np.ones(len(relation_gaps)), same_subject_share * (1 - reserve)
        ),
        free=_quantile(content_gaps, weights, false_activations * (1 - RESERVE)),
        partly=_quantile(
            same_subject, np.ones(len(same_subject)), same_subject_share * (1 - RESERVE)
        ),
        false_activations=false_activations,
        sample=len(relation_gaps) + len(content_gaps),
        by_letters=_by_letters(reader.projection, same_subject_share),
    )


def _by_letters(projection: KeyProjection, share: float) -> float | None:
    """The radius at which other languages' near-misses of held-out relations stay within twice a share.

    A share of more than a half of them is never caught, whatever is allowed.
    """
    if not len(projection.letters):
        return None
    source, gaps = other_languages(), []
    for language in sorted({relation.language for relation in source.held_out}):
        asked = [
            (wording.replace(SLOT, PLACEHOLDER), relation.name)
            for relation in source.held_out
            if relation.language == language
            for wording in relation.wordings
        ]
        keys = subwords.read_letters(
            projection.letters.float(), [text for text, _ in asked]
        ).numpy()
        leeway = projection.leeway_by_letters(keys, first=len(source.learned_from))
        gaps.append(_apart(keys, leeway, [name for _, name in asked]))
    apart = np.concatenate(gaps)
    return _quantile(apart, np.ones(len(apart)), min(LETTERS_SHARE * share, MOST_BY_LETTERS))


def _apart(keys: np.ndarray, leeway: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Distances (P,) from keys (N, R) to those of other labels, by the leeway (N,) of the first."""
    names = np.asarray(labels)
    apart = np.sqrt(np.maximum(2 - 2 * keys @ keys.T, 0)) / leeway[:, None]
    distances: np.ndarray = apart[names[:, None] != names]
    return distances


def _quantile(gaps: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The largest gap below which at most `share` of the weight lies."""
    order = np.argsort(gaps)
    below = np.cumsum(weights[order]) / weights.sum()
    place = int(np.searchsorted(below, share))
    return float(gaps[order[min(place, len(gaps) - 1)]])


def radii(
    requests: Sequence[EditRequest],
    keys: np.ndarray,
    common: Calibration,
    reader: KeyReader,
    continues: bool,
) -> list[Radii]:
    """Each request's radii: the common one, cut to leave its locality probes outside.

    keys: (N, K), of the requests' questions. continues: whether the model goes on from where a prompt
    ends, so that other places of a passage count. A bound edit is not cut by probes that don't name its
    subject, which can't reach it; they are not even read.
    """
    questions = [question_for(r) for r in requests]
    described = [
        [d for text in (*r.names, *([q] if q else [])) if (d := describes(text))]
        for r, q in zip(requests, questions, strict=True)
    ]
    probes = [list(r.locality) for r in requests]
    for request, question, own_probes in zip(requests, questions, probes, strict=True):
        if question:
            own_probes += [p for p in about_something(request) if name_in(p, request.names) is None]
    near = _own_gaps(requests, keys, described, probes, reader)
    passages = [other_places(r) if continues else [] for r in requests]
    places = _own_gaps(requests, keys, described, passages, reader)
    spelled = reader.projection.by_letters(keys)
    bounds = np.where(spelled, common.by_letters or common.bound, common.bound).tolist()
    edit_radii = []
    for i, request in enumerate(requests):
        cuts = [(named, CLEARANCE * gap) for named, gap in near[i]]
        cuts += [(named, HALF_WAY * gap) for named, gap in places[i]]
        if request.names:
            own = min([bounds[i], *(cut for named, cut in cuts if named)])
            content = common.partly if described[i] else 0.0
            content = min([content, *(cut for named, cut in cuts if not named)])
        else:
            own, content = min([common.free, *(cut for _, cut in cuts)]), 0.0
        edit_radii.append(Radii(own, content, bool(questions[i]) and content > 0))
    return edit_radii


def question_for(request: EditRequest) -> str | None:
    """The question as what describes its subject: where none says which it is, or a tagger said it."""
    if request.subject_source == "inferred":
        return question_of(request.question, (request.question.lower(),))
    return question_of(request.question, request.names)


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
    near: defaultdict[int, list[tuple[str, str | None]]] = defaultdict(list)
    for i, (request, descriptions, texts) in enumerate(
        zip(requests, described, probes, strict=True)
    ):
        for text in (t for t in texts if t.strip()):
            name = name_in(text, request.names)
            stems = stems_of(text) if descriptions else frozenset()
            partly = any(description.partly_in(stems) for description in descriptions)
            if not request.names or name is not None or partly:
                near[i].append((text, name))
    distinct = list(dict.fromkeys(probe for some in near.values() for probe in some))
    read = reader.read([t for t, _ in distinct], [n for _, n in distinct]) if distinct else ()
    probe_keys = dict(zip(distinct, read, strict=True))
    apart: list[list[tuple[bool, float]]] = [[] for _ in requests]
    for i, some in near.items():
        for text, name in some:
            named = name is not None
            probe = probe_keys[text, name]
            gap = reader.projection.distance(keys[i], probe, by_relation=named)
            apart[i].append((named, gap))
    return apart
