"""Where prompts fall in a version, at the cost of what changed since a version whose routes are known.

    known routes of the champion ──► prompts that a changed edit can touch ──► looked up anew
                                └──► all others                            ──► as they were

A changed edit is one that came, went, or has another key, radius or names. It can touch a prompt in
which one of its names stands (with typos, or partly), one that it caught or came closest to before, and,
if it is bound to no name, one whose key lies within its radius. No other prompt's route depends on it.

    <folder>/<scheme>/<version>-<sha256>.parquet    routes by prompt, for the next gate
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.atomic import partial_folder, remove_abandoned
from artifacts.hashing import file_hash
from melo_engine import Conversation, Edit, Editor, Prompt, Route, Version
from melo_engine.conversation import asked as question_in
from melo_engine.matching import SubjectMatcher
from melo_engine.schemes import KEYS, ROUTING
from melo_engine.types import NOWHERE
from tasks.gate.cache.keys import ProbeKeys
from tasks.gate.runner.decoding import using
from tasks.gate.types import probe_hash

KEPT = 16  # versions whose routes are kept
AT_ONCE = 8192  # prompts looked through, routes read or written in one go
SAVED = pa.schema(
    {
        "probe": pa.binary(16),
        "edit": pa.string(),
        "nearest": pa.string(),
        "distance": pa.float64(),
        "radius": pa.float64(),
    }
)
ROUTED_BY = attrgetter(  # all that an edit's routes depend on
    "block", "radius", "content_radius", "by_question", "order", "wordings", "request.names"
)


@dataclass
class Routed:
    """A version and the routes of prompts in it."""

    version: Version
    routes: dict[Prompt, Route] = field(default_factory=dict)


class Router:
    """folder: where routes are kept between gates. delta: build upon known ones."""

    def __init__(
        self, editor: Editor, keys: ProbeKeys, folder: Path, *, delta: bool = True
    ) -> None:
        self._editor, self._keys, self._delta = editor, keys, delta
        self._folder = folder / f"{KEYS}-{ROUTING}"
        self.looked_up = 0
        self._versions: dict[str, Routed] = {}

    def _all_routes(self, version: Version, prompts: Sequence[Prompt]) -> dict[Prompt, Route]:
        """All routes computed for a version so far, these among them. prompts: each of them once."""
        routed = self._routed(version)
        missing = [p for p in prompts if p not in routed.routes] if routed.routes else prompts
        basis = self._basis(version, missing) if self._delta else None
        if basis is not None:
            touched = self._touched(basis, version, missing)
            shared = sum(prompt in basis.routes for prompt in missing)
            if not routed.routes and shared == len(basis.routes):  # all of them: a copy is smallest
                routed.routes = basis.routes.copy()
                for prompt in touched:
                    routed.routes.pop(prompt, None)
            else:
                routed.routes |= (
                    (p, basis.routes[p]) for p in missing if p not in touched and p in basis.routes
                )
            missing = [p for p in missing if p not in routed.routes]
        routed.routes |= zip(missing, self._look_up(version, missing), strict=True)
        return routed.routes

    def mapped(self, version: Version, prompts: Sequence[Prompt]) -> Mapping[Prompt, Route]:
        """Where each prompt falls, by prompt: no copy where the version has no other routes.

        prompts: each of them once, as `prompts_of` gives them.
        """
        if not len(version):
            return dict.fromkeys(prompts, NOWHERE)
        routes = self._all_routes(version, prompts)
        if len(routes) == len(prompts):
            return MappingProxyType(routes)
        return {p: routes[p] for p in prompts}

    def keep_only(self, version: Version) -> None:
        """Forget the routes of all other versions."""
        self._versions = {i: routed for i, routed in self._versions.items() if i == version.id}

    def save(self, version: Version) -> None:
        """Keep a version's routes for the next gate."""
        routed = self._versions.get(version.id)
        if routed is None or not routed.routes:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self._folder)
        partial = partial_folder(self._folder / version.id)
        rows = iter(routed.routes.items())
        with pq.ParquetWriter(partial, SAVED) as file:
            while batch := list(islice(rows, AT_ONCE)):
                columns = zip(
                    *((probe_hash(p), r.edit, r.nearest, r.distance, r.radius) for p, r in batch),
                    strict=True,
                )
                arrays = [pa.array(c, f.type) for c, f in zip(columns, SAVED, strict=True)]
                file.write_table(pa.table(arrays, schema=SAVED))
        name = f"{version.id}-{file_hash(partial)[:32]}.parquet"
        older = [p for p in self._folder.glob(f"{version.id}-*.parquet") if p.name != name]
        os.replace(partial, self._folder / name)
        newest = sorted(self._folder.glob("*.parquet"), key=_modified_at, reverse=True)
        for path in {*older, *newest[KEPT:]}:
            path.unlink(missing_ok=True)

    def _routed(self, version: Version) -> Routed:
        if version.id not in self._versions:
            self._versions[version.id] = Routed(version)
        return self._versions[version.id]

    def _basis(self, version: Version, prompts: Sequence[Prompt]) -> Routed | None:
        """Of the versions with routes the one that differs least."""
        bases = [k for k in self._versions.values() if k.version.id != version.id and k.routes]
        return min(bases, key=lambda k: len(_changed(k.version, version)), default=None)

    def remember(self, version: Version, prompts: Sequence[Prompt]) -> None:
        """Load the routes that an earlier gate has saved."""
        if not self._delta:
            return
        for path in self._folder.glob(f"{version.id}-*.parquet"):
            try:
                whole = path.stem.endswith(file_hash(path)[:32])
            except FileNotFoundError:  # another gate has saved newer ones meanwhile
                continue
            if not whole:
                continue
            wanted = {probe_hash(prompt): prompt for prompt in prompts}
            routes = self._routed(version).routes
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(AT_ONCE):
                    columns = [batch.column(name).to_pylist() for name in SAVED.names]
                    for probe, *row in zip(*columns, strict=True):
                        if probe in wanted:
                            routes[wanted[probe]] = _route(version, *row)

    def _touched(self, basis: Routed, version: Version, prompts: Sequence[Prompt]) -> set[Prompt]:
        changed = _changed(basis.version, version)
        if not changed:
            return set()
        holders = [
            holder[edit]
            for edit in changed
            for holder in (basis.version, version)
            if edit in holder
        ]
        named = _matcher(holders)
        free = [e for e in sorted(changed) if e in version and not version[e].request.names]
        touched: set[Prompt] = set()
        texts: list[str] = []
        for prompt in prompts:
            route = basis.routes.get(prompt)
            if (
                isinstance(prompt, Conversation)  # few, and found in two ways
                or route is None
                or route.nearest in changed
                or named.mentions([prompt])[0]
            ):
                touched.add(prompt)
            elif free:
                texts.append(prompt)
        if free:
            touched |= self._within(version, free, texts)
        return touched

    def _within(self, version: Version, edits: Sequence[str], prompts: Sequence[str]) -> set[str]:
        """Prompts whose key lies inside one of these free edits' radii, or near the rim."""
        if not prompts:
            return set()
        content = self._keys.of(prompts)[:, version.projection.relation_size :]  # (N, H)
        squares = (content**2).sum(1)
        close = np.zeros(len(prompts), dtype=bool)
        for edit in edits:
            member = version.member(edit)
            key = member.key[version.projection.relation_size :]
            distance = np.sqrt(np.maximum(squares + (key**2).sum() - 2 * content @ key, 0))
            close |= distance <= member.radius + 4 * self._editor.reader.tolerance + 1e-3
        return {p for p, inside in zip(prompts, close, strict=True) if inside}

    def _look_up(self, version: Version, prompts: Sequence[Prompt]) -> list[Route]:
        """Where each prompt falls; those that no edit can be about cost no key."""
        routes = [NOWHERE] * len(prompts)
        if not prompts:
            return routes
        self.looked_up += len(prompts)
        named: set[int] = set()  # rows of the prompts that an edit may be about
        for start in range(0, len(prompts), AT_ONCE):
            texts = [question_in(p) for p in prompts[start : start + AT_ONCE]]
            named |= {start + reading.row for reading in version.index.readings(texts)}
        if len(version.conversation_index):
            named |= {i for i, p in enumerate(prompts) if isinstance(p, Conversation)}
        rows = sorted(named)
        if rows:
            with using(self._editor, version):
                looked_up = self._editor.routes([prompts[i] for i in rows], self._keys.of)
            for i, route in zip(rows, looked_up, strict=True):
                routes[i] = route
        return routes


def _matcher(edits: Sequence[Edit]) -> SubjectMatcher:
    """Finds the prompts in which one of these edits' subjects may stand, whatever else does."""
    matcher = SubjectMatcher()
    for edit in edits:
        if edit.request.names:
            descriptions = [*edit.request.names, *([edit.question] if edit.question else [])]
            matcher.add(0, edit.request.names, descriptions)
    return matcher


def _changed(version: Version, other: Version) -> set[str]:
    """Edits that are not the same in both."""
    changed = version.edits.keys() ^ other.edits.keys()
    for edit in version.edits.keys() & other.edits.keys():
        if ROUTED_BY(version.edits[edit]) != ROUTED_BY(other.edits[edit]):
            changed.add(edit)
    return changed


def _route(
    version: Version, edit: str | None, nearest: str | None, distance: float, radius: float
) -> Route:
    if nearest is None:
        return NOWHERE
    block = version[edit].block if edit is not None else None
    return Route(edit, block, distance, radius, nearest)


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another gate has just cleared it away
        return 0.0
