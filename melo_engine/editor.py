"""The engine in one object: edit a backbone, ask it, take edits back.

backbone = Backbone.open("folder")
editor = Editor(backbone)
version = editor.edit([EditRequest("Who leads Acme?", "Ada Li", subject="Acme")])
editor.answer(["Who is at the head of Acme?"])[0].text
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.blocks import GatheredBlocks, gather
from melo_engine.calibrate import LARGE_SAMPLE, Radii, Reach, measure_reach, radii
from melo_engine.contradictions import conflicts, contradicted, superseded
from melo_engine.errors import MeloError
from melo_engine.generating import generation_options, texts_of
from melo_engine.index import Hit, Mentions, questions
from melo_engine.keys import KeyReader, Names
from melo_engine.lessons import Lesson
from melo_engine.peft_export import export_block
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Pass, Runtime
from melo_engine.storing import store
from melo_engine.subjects import is_letter, name_in
from melo_engine.teaching import Progress, Teacher
from melo_engine.types import Answer, EditOutcome, EditRequest, EditSettings, Route
from melo_engine.version import Version

ReadKeys = Callable[[Sequence[str], Names], np.ndarray]
_NO_HIT = Hit(None, float("nan"), False)


@dataclass(frozen=True)
class Asked:
    """Prompts on their way. encoded: (B, T) tensors; routes: of each, known after the first forward."""

    encoded: dict[str, Tensor]
    routes: list[Route]
    running: Pass

    def keep(self, rows: Sequence[int]) -> None:
        """From now on only these rows of the batch are run, in this order."""
        if self.running.blocks is not None:
            self.running.blocks = self.running.blocks.select(rows)


class Editor:
    """Edits, asks and restores one backbone. Holds one current version; versions are immutable.

    projection: of keys, learned by `melo_engine.contrast.learn_projection`; raw keys where None.
    reach: kept as it is; where None, measured on the first edits, until they are enough.
    """

    def __init__(
        self,
        backbone: Backbone,
        version: Version | None = None,
        *,
        projection: KeyProjection | None = None,
        settings: EditSettings | None = None,
        reach: Reach | None = None,
    ) -> None:
        self.backbone = backbone
        self.settings = settings or EditSettings()
        self.runtime = Runtime(backbone)
        chosen = version.projection if version is not None else projection
        try:
            self.reader = KeyReader(backbone, self.runtime, chosen)
            self.version = version or Version.empty(backbone, self.reader.projection)
        except BaseException:  # out of memory: nobody has the editor who could close it
            self.close()
            raise
        self.reach = reach or _reach_of(self.version)
        self._reach_given = reach is not None

    def close(self) -> None:
        """Take the editor's hooks out of the backbone, which may go on under another editor."""
        self.runtime.close()

    def edit(
        self,
        requests: Sequence[EditRequest],
        *,
        replaces: Sequence[str] = (),
        near: Sequence[EditRequest] = (),
        reach: Reach | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Train a block for each request and put its key into the index.

        replaces: ids of edits that these requests supersede. near: other known edits, to make
        near-misses from. reach: as `measure` gave it, None to measure it here. An edit that answers
        the same question differently is superseded by the later one, in force or in the same call.
        Returns the new version, which is the current one
        from now on; `version.outcomes` says what became of each request and of the edits in force
        that were superseded. A request that cannot be carried out fails alone. Raises RequestError
        where an id comes twice.
        """
        requests = [_bound(r) for r in requests]
        outcomes = conflicts(requests)
        teacher = Teacher(self.backbone, self.runtime, self.settings)
        lessons: dict[str, Lesson] = {}
        for request in requests:
            if request.id not in outcomes:
                try:
                    lessons[request.id] = teacher.lesson(request)
                except MeloError as error:
                    outcomes[request.id] = EditOutcome(request.id, "failed", str(error))
        valid = [r for r in requests if r.id in lessons]
        keys = self._keys_of(valid, lessons)
        self.reach = reach or self.reach
        reach = reach or (self._reach(valid, keys, near) if valid else None)
        radius = self._radii(valid, keys, reach) if valid and reach else {}
        losers = contradicted(
            valid, keys, {edit: found.own for edit, found in radius.items()}, self.version
        )
        for loser, winner in losers.items():
            outcomes[loser] = superseded(loser, winner)
        trained = teacher.teach(
            [x for x in lessons.values() if x.id not in losers], outcomes, progress
        )
        good = [r for r in valid if r.id in {t.id for t in trained}]
        gone = set(replaces) | {k for k, winner in losers.items() if winner in {r.id for r in good}}
        gone |= {r.id for r in good}
        gone &= set(self.version.edits)
        version = self.version.without(sorted(gone)) if gone else self.version
        if good:
            own, found = np.stack([keys[r.id] for r in good]), [radius[r.id] for r in good]
            start = max((e.order for e in self.version.edits.values()), default=-1) + 1
            edits, shards = store(trained, good, own, found, start, self.backbone.dtype)
            version = version.with_edits(edits, shards)
            for edit in edits:
                outcomes[edit.id] = replace(outcomes[edit.id], radius=edit.radius)
        asked = {r.id for r in requests}
        others = [o for k, o in outcomes.items() if k not in asked and k in gone]
        version = replace(
            version,
            parent=self.version.id,
            outcomes=(*(outcomes[r.id] for r in requests), *others),
            settings={
                "reach_bound": self.reach.bound if self.reach else None,
                "reach_free": self.reach.free if self.reach else None,
                "reach_partly": self.reach.partly if self.reach else None,
                "reach_sample": self.reach.sample if self.reach else 0,
                "reach_free_sample": self.reach.free_sample if self.reach else 0,
                "false_activations": self.settings.false_activations,
            },
        )
        self.version = version
        return version

    def measure(self, requests: Sequence[EditRequest], near: Sequence[EditRequest] = ()) -> Reach:
        """The reach that an edit of these requests would have; measured now, or known before.

        Editors of several processes that are to train parts of one call each take it over.
        """
        valid = [_bound(r) for r in requests if self.backbone.takes(r.prompt)]
        read = self._read(valid)
        keys = {r.id: key for r, (key, _) in zip(valid, read, strict=True)}
        return self._reach(valid, keys, near)

    def revoke(self, edits: Sequence[str]) -> Version:
        """Take edits out of the index; nothing is trained. Raises UnknownEdit."""
        self.version = self.version.without(edits)
        return self.version

    def use(self, version: Version) -> None:
        """Make another version of the same key space the current one."""
        if version.projection_hash != self.version.projection_hash:
            self.reader = KeyReader(self.backbone, self.runtime, version.projection)
        self.version = version
        self.reach = _reach_of(version) or self.reach

    def save(self, folder: str | Path, shards: str | Path | None = None) -> Path:
        """Write the current version; see `Version.save`."""
        return self.version.save(folder, shards)

    def export_peft(self, edit: str, folder: str | Path) -> Path:
        """Write one edit's block as a PEFT adapter folder; see `peft_export`. Raises UnknownEdit."""
        return export_block(self.backbone, self.version, edit, folder)

    @classmethod
    def load(
        cls,
        backbone: Backbone,
        folder: str | Path,
        shards: str | Path | None = None,
        *,
        settings: EditSettings | None = None,
    ) -> Editor:
        """Open a saved version on its backbone; see `Version.load` for the errors."""
        return cls(backbone, Version.load(folder, backbone, shards), settings=settings)

    def routes(self, prompts: Sequence[str], read: ReadKeys | None = None) -> list[Route]:
        """Where each prompt falls.

        read: gives keys (M, K) of prompts with the names left out; the reader's own where None. Only
        borderline ones are read again.
        """
        index = self.version.index
        mentions = index.mentions(prompts)
        asked = [i for i, found in enumerate(mentions) if found or index.has_free]
        hits: list[Hit] = [_NO_HIT] * len(prompts)
        if asked:
            some, about = [prompts[i] for i in asked], [mentions[i] for i in asked]
            wanted = questions(about)
            keys = (read or self.reader.read)([some[i] for i, _ in wanted], [n for _, n in wanted])
            for i, hit in zip(asked, self._search(some, keys, about), strict=True):
                hits[i] = hit
        return [self._route(hit) for hit in hits]

    @torch.inference_mode()
    def answer(
        self,
        prompts: Sequence[str],
        *,
        batch_size: int = 32,
        base: bool = False,
        padding_side: str | None = None,
        sort: bool = True,
        **generation: Any,
    ) -> list[Answer]:
        """Answer prompts, greedily unless `generation` says otherwise (num_beams, do_sample, ...).

        base: ask the backbone without any edit. padding_side: "left" or "right", the task's own
        where None. sort: put prompts of like length into one batch. Each answer names the edit it
        came from, if any.
        """
        answers: list[Answer | None] = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) if sort else i)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = [prompts[i] for i in rows]
            with self.asking(batch, base=base, padding_side=padding_side) as asked:
                texts = texts_of(self.backbone, asked.encoded, generation)
            for i, text, route in zip(rows, texts, asked.routes, strict=True):
                answers[i] = Answer(text, route, "base" if base else self.version.id)
        return [a for a in answers if a is not None]

    @torch.inference_mode()
    def answer_with(
        self,
        prompts: Sequence[str],
        edits: Sequence[str | None],
        *,
        batch_size: int = 32,
        **generation: Any,
    ) -> list[str]:
        """Texts with the block of a given edit forced on each prompt, whatever its key says."""
        texts: list[str] = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            places = [self.version.place(e) if (e := edits[i]) is not None else None for i in rows]
            blocks = gather(places, self.backbone.device, self.backbone.dtype)
            with self.runtime.running(Pass(blocks)):
                found = texts_of(
                    self.backbone, self.backbone.encode([prompts[i] for i in rows]), generation
                )
            for i, text in zip(rows, found, strict=True):
                texts[i] = text
        return texts

    @contextmanager
    def asking(
        self, prompts: Sequence[str], *, base: bool = False, padding_side: str | None = None
    ) -> Iterator[Asked]:
        """Inside the block the backbone, run on `encoded`, answers as this version does.

        The first forward pass fixes the routes, for all later ones of the same block. For those who
        run the backbone their own way; `answer` is this with the usual one. Raises PromptError.
        """
        asked = Asked(
            self.backbone.encode(prompts, padding_side=padding_side),
            [self._route(_NO_HIT) for _ in prompts],
            Pass(),
        )
        index = self.version.index
        mentions = [] if base else index.mentions(prompts)
        if base or not (index.has_free or any(mentions)):
            yield asked
            return
        mask = asked.encoded["attention_mask"]
        wanted = questions(mentions)
        rows, about = [i for i, _ in wanted], [prompts[i] for i, _ in wanted]

        def on_keys(states: Tensor) -> GatheredBlocks | None:
            copies = len(states) // len(prompts)
            own = states[::copies]
            keys = self.reader.project(own[rows], mask[rows], about, [n for _, n in wanted])
            hits = self._search(prompts, keys, mentions)
            asked.routes[:] = [self._route(hit) for hit in hits]
            places = [
                self.version.place(h.member.edit) if h.inside and h.member else None for h in hits
            ]
            return gather(places, self.backbone.device, self.backbone.dtype)

        asked.running.on_keys = on_keys
        with self.runtime.running(asked.running):
            yield asked

    def generation(self, **generation: Any) -> dict[str, Any]:
        """What `model.generate` is called with: greedily, unless `generation` says otherwise."""
        return generation_options(self.backbone, **generation)

    def _search(self, prompts: Sequence[str], keys: np.ndarray, mentions: Mentions) -> list[Hit]:
        """Search, and decide borderline keys by reading them alone, so that no batch matters."""
        index = self.version.index
        hits = index.search(keys, mentions, self.reader.tolerance)
        for i, hit in enumerate(hits):
            if hit.doubtful:
                names = [name for _, name in questions([mentions[i]])]
                alone = np.stack([self.reader.read_alone(prompts[i], name) for name in names])
                hits[i] = index.search(alone, [mentions[i]])[0]
        return hits

    def _route(self, hit: Hit) -> Route:
        if hit.member is None:
            return Route(None, None, hit.distance, float("nan"))
        edit = hit.member.edit
        inside = edit if hit.inside else None
        block = self.version[edit].block if hit.inside else None
        return Route(inside, block, hit.distance, hit.member.radius, edit)

    def _keys_of(
        self, requests: Sequence[EditRequest], lessons: dict[str, Lesson]
    ) -> dict[str, np.ndarray]:
        """Each prompt's key (K,). Lessons go on from the encoder's output, if keys are made of that."""
        keys = {}
        for request, (key, states) in zip(requests, self._read(requests), strict=True):
            keys[request.id] = key
            if self.reader.reads_the_encoder:
                lessons[request.id] = replace(lessons[request.id], states=states)
        return keys

    def _radii(
        self, requests: Sequence[EditRequest], keys: Mapping[str, np.ndarray], reach: Reach
    ) -> dict[str, Radii]:
        own = np.stack([keys[r.id] for r in requests])
        found = radii(requests, own, reach, self.reader)
        return dict(zip([r.id for r in requests], found, strict=True))

    def _read(self, requests: Sequence[EditRequest]) -> list[tuple[np.ndarray, Tensor]]:
        if not requests:
            return []
        names = [name_in(r.prompt, r.names) for r in requests]
        return self.reader.read_with_states([r.prompt for r in requests], names)

    def _reach(
        self,
        requests: Sequence[EditRequest],
        keys: Mapping[str, np.ndarray],
        near: Sequence[EditRequest],
    ) -> Reach:
        if self.reach is None or not (self.reach.settled(requests) or self._reach_given):
            others = [e.request for e in self.version.edits.values() if e.id not in keys]
            keys = {**{r.id: self.version.index[r.id].key for r in others}, **keys}
            asked = [*requests, *others]
            self.reach = measure_reach(
                self.reader,
                asked,
                self.settings.false_activations,
                near,
                seed=self.settings.seed,
                known={(r.prompt, name_in(r.prompt, r.names)): keys[r.id] for r in asked},
                before=self.reach,
            )
        return self.reach


def _bound(request: EditRequest) -> EditRequest:
    """The request without a subject that is but a letter: it would stand in any prompt."""
    if request.subject and is_letter(request.subject):
        return replace(request, subject=None)
    return request


def _reach_of(version: Version) -> Reach | None:
    bound, free = version.settings.get("reach_bound"), version.settings.get("reach_free")
    if bound is None or free is None:
        return None
    sample = int(version.settings.get("reach_sample", LARGE_SAMPLE))
    free_sample = int(version.settings.get("reach_free_sample", sample))
    partly = version.settings.get("reach_partly")
    if partly is None:  # of an earlier release: to be measured as edits come
        sample, partly = 0, 0.0
    return Reach(bound, free, sample, free_sample, partly)
