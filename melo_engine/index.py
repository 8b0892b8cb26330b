"""The neuron index: from the keys of a text to the edit that it falls to.

    bound edits     subject in the text? ──► distance of relation parts <= radius
                    partly named?        ──► distance of content parts  <= content radius
    free edits      nearest on faiss     ──► distance of content parts  <= radius

A text is read once for each subject that stands in it, with that subject taken out (`readings`); where
it was inferred, and text and question have more of the name, with all of it out of both. A subject that
is a description and does not stand in it may be named partly (`matching`): then the text as a whole is
compared. An edit has a key for each wording that is known of its question. Keys never change. Edits are
added and taken out by id. Where several radii hold a key, the edit with the smallest distance relative
to its radius wins; of two edits at one point, the later one. An edit whose question differs from what
is asked in one telling word is not compared (`contrast.parallels`). A decision that another key within
the tolerance would change is marked as doubtful.
MELO (Yu et al. 2024), "Vector Database"; radii here are calibrated, see `calibrate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import faiss
import numpy as np

from melo_engine.contrast.parallels import asks_otherwise
from melo_engine.errors import IndexMismatch, UnknownEdit
from melo_engine.keys import KeyReader, ReadKeys, last_sentence, relation_text
from melo_engine.matching import Mention, SubjectMatcher, name_in, whole_name

NEAREST_FREE = 8
INFINITE = float("inf")

Measure = Callable[[str, str, str], float]  # distance of two texts with a name taken out of both
# Of edits' relation parts (N, R) to a question's (1, R), see `KeyProjection.distances`.
Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _plainly(own: np.ndarray, asked: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(own - asked, axis=1)
    return distances


@dataclass(frozen=True, slots=True)
class Member:
    """One key in the index. names: of its subject, () for a free edit; order: later beats earlier.

    content_radius: for texts that name its subject partly, 0 where that won't do. question: what else
    describes it, as `descriptions.question_of` gives it. wording: which of the edit's wordings it is
    the key of, 0 for its own prompt. text: that wording. inferred: whether its subject was not given.
    """

    edit: str
    key: np.ndarray  # (K,) float32
    radius: float
    names: tuple[str, ...]
    order: int = 0
    content_radius: float = 0.0
    question: str | None = None
    wording: int = 0
    text: str = ""
    inferred: bool = False

    @property
    def descriptions(self) -> tuple[str, ...]:
        """What may stand partly in a text that is about it."""
        if not self.content_radius:
            return ()
        return (*self.names, *([self.question] if self.question else []))


@dataclass(frozen=True, slots=True)
class Reading:
    """One key that a search needs. row: of the text; text: what is read; name: taken out of it.

    mention: the members that it is compared with, None where only free edits are.
    """

    row: int
    text: str
    name: str | None
    mention: Mention | None


@dataclass(frozen=True, slots=True)
class Hit:
    """The member that a key was compared with, its radius that for this prompt. inside: within it.

    doubtful: a key within the tolerance of this one may fall to another member, or to none, so the
    key should be read alone.
    """

    member: Member | None
    distance: float
    inside: bool
    doubtful: bool = False

    @property
    def share(self) -> float:
        """Distance relative to the radius: infinite where no member was compared."""
        return INFINITE if self.member is None else _share((self.distance, self.member))

    def is_nearer_than(self, other: Hit) -> bool:
        """Whether its member lies nearer, each by its own radius; any is nearer than none."""
        return (self.member is None, self.share) < (other.member is None, other.share)


NO_HIT = Hit(None, float("nan"), False)


class NeuronIndex:
    """relation_size: how many of the key's first values are its relation part. matcher: an empty one.

    distances: of relation parts; plainly Euclidean where none are given.
    """

    def __init__(
        self,
        key_size: int,
        relation_size: int,
        members: Sequence[Member] = (),
        matcher: SubjectMatcher | None = None,
        distances: Distances | None = None,
    ) -> None:
        self.key_size = key_size
        self.relation_size = relation_size
        self._distances = distances or _plainly
        self._members: dict[int, Member] = {}
        self._rows_of: dict[str, list[int]] = {}  # the key of its own prompt first
        self._matcher = matcher or SubjectMatcher()
        self._free = faiss.IndexIDMap2(faiss.IndexFlatL2(key_size - relation_size))
        self._free_reach = 0.0  # no free radius is larger
        self._next = 0
        self.add(members)

    def __len__(self) -> int:
        return len(self._rows_of)

    def __contains__(self, edit: str) -> bool:
        return edit in self._rows_of

    def __getitem__(self, edit: str) -> Member:
        """The member of the edit's own prompt. Raises UnknownEdit."""
        return self._members[self._rows(edit)[0]]

    def wordings(self, edit: str) -> list[Member]:
        """All members of an edit, that of its own prompt first. Raises UnknownEdit."""
        return [self._members[row] for row in self._rows(edit)]

    def add(self, members: Sequence[Member]) -> None:
        """Raises IndexMismatch for a key of another size, a bad radius or an id that is there."""
        free: list[int] = []
        for member in members:
            if member.key.shape != (self.key_size,) or member.key.dtype != np.float32:
                raise IndexMismatch(
                    f"key of edit {member.edit} is {member.key.dtype}{member.key.shape}; "
                    f"the index takes float32({self.key_size},)."
                )
            for radius in (member.radius, member.content_radius):
                if not radius >= 0:
                    raise IndexMismatch(
                        f"radius of edit {member.edit} is {radius}; it must be >= 0."
                    )
            rows = self._rows_of.setdefault(member.edit, [])
            if any(self._members[row].wording == member.wording for row in rows):
                raise IndexMismatch(f"edit {member.edit} is in the index already; remove it first.")
            row, self._next = self._next, self._next + 1
            self._members[row] = member
            rows.append(row)
            if member.names:
                self._matcher.add(row, member.names, member.descriptions)
            else:
                free.append(row)
                self._free_reach = max(self._free_reach, member.radius)
        if free:
            content = np.stack([self._members[r].key[self.relation_size :] for r in free])
            self._free.add_with_ids(content, np.asarray(free, dtype=np.int64))

    def remove(self, edits: Sequence[str]) -> None:
        """Take edits out. Raises UnknownEdit for an id that is not there."""
        edits = list(dict.fromkeys(edits))
        rows = [row for edit in edits for row in self._rows(edit)]
        free = [r for r in rows if not self._members[r].names]
        if free:
            self._free.remove_ids(faiss.IDSelectorBatch(np.asarray(free, dtype=np.int64)))
        for row in rows:
            member = self._members.pop(row)
            if member.names:
                self._matcher.remove(row, member.names, member.descriptions)
        for edit in edits:
            del self._rows_of[edit]

    def mentions(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The subjects of bound edits that stand in each text; see `SubjectMatcher.mentions`."""
        return self._matcher.mentions(texts)

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """The keys that a search of these texts needs; none for a text that no edit can be about.

        A free edit may be asked about behind other text, so the last sentence is read as well.
        """
        readings = []
        for row, (text, mentions) in enumerate(zip(texts, self.mentions(texts), strict=True)):
            readings += [Reading(row, text, m.name, m) for m in mentions]
            if self.has_free:
                if not mentions:
                    readings.append(Reading(row, text, None, None))
                if (last := last_sentence(text)) != text:
                    readings.append(Reading(row, last, None, None))
        return readings

    def around(self, key: np.ndarray, text: str, bound: float, free: float) -> list[Member]:
        """Members that a text is about and that its key is near.

        Near is what lies within the member's radius, or within `bound` (`free`, for free members).
        Members that are named partly do not count.
        """
        mentions = [m for m in self.mentions([text])[0] if m.name is not None]
        rows = sorted({row for mention in mentions for row in mention.members})
        near = [m for d, m in self._bound(key, rows) if d <= max(bound, m.radius)]
        content = self._free_distances(key[None], max(free, self._free_reach))[0]
        return near + [m for d, m in content if d <= max(free, m.radius)]

    @property
    def has_free(self) -> bool:
        return bool(self._free.ntotal)

    def find(
        self, texts: Sequence[str], reader: KeyReader, read: ReadKeys | None = None
    ) -> list[Hit]:
        """Read texts and find the edit of each. read: gives their keys; the reader's own where None.

        Borderline ones are decided by reading them again alone, so that no batch matters.
        """
        readings = self.readings(texts) if len(self) else []
        if not readings:
            return [NO_HIT] * len(texts)
        keys = (read or reader.read)([r.text for r in readings], [r.name for r in readings])

        def measure(text: str, question: str, name: str) -> float:
            asked = reader.read_alone(text, name)
            own = reader.projection.as_edits(reader.read_alone(question, name)[None])
            return float(self._relation_distances(own[:, : self.relation_size], asked)[0])

        hits = self.search(keys, readings, len(texts), reader.tolerance, measure)
        for i, hit in enumerate(hits):
            if hit.doubtful:
                own = [replace(r, row=0) for r in readings if r.row == i]
                alone = np.stack([reader.read_alone(r.text, r.name) for r in own])
                hits[i] = self.search(alone, own, 1, measure=measure)[0]
        return hits

    def search(
        self,
        keys: np.ndarray,
        readings: Sequence[Reading],
        count: int,
        tolerance: float = 0.0,
        measure: Measure | None = None,
    ) -> list[Hit]:
        """Find each text's edit.

        keys: (M, K) float32, one for each of the `readings` of `count` texts. measure: of a text and the
        question of an edit within whose radius it lies, where both have more of a name that was inferred.
        Raises IndexMismatch where keys and readings don't fit each other or the index.
        """
        if keys.shape != (len(readings), self.key_size):
            raise IndexMismatch(
                f"keys are {keys.shape}; the index takes {(len(readings), self.key_size)}."
            )
        near: list[dict[str, tuple[float, Member]]] = [{} for _ in range(count)]
        free = self._free_distances(keys, self._free_reach + tolerance)
        for reading, key, content in zip(readings, keys, free, strict=True):
            pairs = list(content)
            if reading.mention is not None:
                compare = self._partly if reading.name is None else self._bound
                pairs += compare(key, reading.mention.members)
            pairs = [pair for pair in pairs if not _asks_otherwise(reading, pair, tolerance)]
            if measure is not None and reading.mention is not None and reading.name is not None:
                pairs = [_by_whole_name(reading, pair, tolerance, measure) for pair in pairs]
            closest = near[reading.row]
            for distance, member in pairs:
                closest_yet = closest.get(member.edit)
                if closest_yet is None or _share((distance, member)) < _share(closest_yet):
                    closest[member.edit] = distance, member
        return [self._decide(list(pairs.values()), tolerance) for pairs in near]

    def _rows(self, edit: str) -> list[int]:
        try:
            return self._rows_of[edit]
        except KeyError:
            raise UnknownEdit(f"edit {edit} is not in the index.") from None

    def _bound(self, key: np.ndarray, rows: Sequence[int]) -> list[tuple[float, Member]]:
        if not rows:
            return []
        members = [self._members[r] for r in rows]
        own = np.stack([m.key[: self.relation_size] for m in members])
        distances = self._relation_distances(own, key)
        return list(zip(distances.tolist(), members, strict=True))

    def _relation_distances(self, own: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Distances (N,) of edits' relation parts (N, R) to what a key (K,) asks."""
        return self._distances(own, key[None, : self.relation_size])

    def _partly(self, key: np.ndarray, rows: Sequence[int]) -> list[tuple[float, Member]]:
        """Members and their distances, each with the radius that holds for a prompt's content."""
        members = [replace(m, radius=m.content_radius) for m in (self._members[r] for r in rows)]
        member_keys = np.stack([m.key[self.relation_size :] for m in members])
        distances = np.linalg.norm(member_keys - key[self.relation_size :], axis=1)
        return list(zip(distances.tolist(), members, strict=True))

    def _free_distances(self, keys: np.ndarray, reach: float) -> list[list[tuple[float, Member]]]:
        """Of each key the nearest free members: a few, and all that lie within reach of it."""
        if not self._free.ntotal:
            return [[] for _ in keys]
        content = np.ascontiguousarray(keys[:, self.relation_size :], dtype=np.float32)
        _, rows = self._free.search(content, min(NEAREST_FREE, self._free.ntotal))
        nearest = [self._measured(own, near) for own, near in zip(content, rows, strict=True)]
        for i, own in enumerate(content):
            while (
                len(nearest[i]) < self._free.ntotal
                and max((d for d, _ in nearest[i]), default=INFINITE) <= reach
            ):
                count = min(4 * len(nearest[i]), self._free.ntotal)
                nearest[i] = self._measured(own, self._free.search(own[None], count)[1][0])
        return nearest

    def _measured(self, content: np.ndarray, rows: np.ndarray) -> list[tuple[float, Member]]:
        """Free members and their distances, which faiss rounds otherwise in a large batch."""
        members = [self._members[row] for row in rows.tolist() if row >= 0]
        if not members:  # a key that is not a number
            return []
        member_keys = np.stack([m.key[self.relation_size :] for m in members])
        distances = np.linalg.norm(member_keys - content, axis=1)
        return list(zip(distances.tolist(), members, strict=True))

    @staticmethod
    def _decide(pairs: list[tuple[float, Member]], tolerance: float) -> Hit:
        if not pairs:
            return Hit(None, float("nan"), False)
        ranked = sorted(pairs, key=lambda p: (_share(p), -p[1].order, p[1].edit))
        distance, member = ranked[0]
        inside = distance <= member.radius
        rivals = ranked[1:] if inside else ranked
        doubtful = abs(distance - member.radius) <= tolerance or any(
            _may_win(rival, ranked[0] if inside else None, tolerance) for rival in rivals
        )
        return Hit(member, distance, inside, doubtful)


def _asks_otherwise(reading: Reading, pair: tuple[float, Member], tolerance: float) -> bool:
    """Whether a text within reach is worded as the edit's question is, but for the word that matters."""
    distance, member = pair
    if distance > member.radius + tolerance:
        return False
    text, own = reading.text, member.text
    if reading.name is not None and member.names:
        text, own = (
            relation_text(text, reading.name),
            relation_text(own, name_in(own, member.names)),
        )
    return asks_otherwise(text, own)


def _by_whole_name(
    reading: Reading, pair: tuple[float, Member], tolerance: float, measure: Measure
) -> tuple[float, Member]:
    """The pair, no nearer than it is with the whole of a name taken out of which a part was inferred."""
    distance, member = pair
    question, text = member.text, reading.text
    if not member.inferred or question == text or distance > member.radius + tolerance:
        return pair
    whole = whole_name(question, text, reading.name or "")
    return pair if whole is None else (max(distance, measure(text, question, whole)), member)


def _may_win(
    rival: tuple[float, Member], winner: tuple[float, Member] | None, tolerance: float
) -> bool:
    """Whether a key within the tolerance may fall to the rival. winner: None where no radius holds it.

    The share of a radius is the less certain the smaller the radius is.
    """
    distance, member = rival
    if distance > member.radius + tolerance:
        return False
    if winner is None or member.radius == 0 or winner[1].radius == 0:
        return True
    uncertain = tolerance / member.radius + tolerance / winner[1].radius
    return _share(rival) - _share(winner) <= uncertain


def _share(pair: tuple[float, Member]) -> float:
    """Distance relative to the radius: below 1 inside."""
    distance, member = pair
    if member.radius > 0:
        return distance / member.radius
    return 0.0 if distance == 0 else INFINITE
