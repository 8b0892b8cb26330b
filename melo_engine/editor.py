"""The engine in one object: edit a backbone, ask it, take edits back.

backbone = Backbone.open("folder")
editor = Editor(backbone)
version = editor.edit([EditRequest("Who leads Acme?", "Ada Li", subject="Acme")])
editor.answer(["Who is at the head of Acme?"])[0].text
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.blocks import GatheredBlocks, Shard, gather
from melo_engine.calibrate import LARGE_SAMPLE, Reach, measure_reach, radii
from melo_engine.contradictions import contradicted, superseded
from melo_engine.contrast.corpus import relations_file
from melo_engine.errors import MeloError, PromptError, RequestError
from melo_engine.index import Hit
from melo_engine.keys import KeyReader
from melo_engine.near_misses import SLOT
from melo_engine.peft_export import export_block
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Pass, Runtime
from melo_engine.training import Lesson, Trained, attempts, encoder_inputs, train_chunk
from melo_engine.types import Answer, EditOutcome, EditRequest, EditSettings, Route
from melo_engine.version import Edit, Version

Progress = Callable[[str, int, int], None]
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
        self.reader = KeyReader(backbone, self.runtime, chosen)
        self.version = version or Version.empty(backbone, self.reader.projection)
        self.reach = reach or _reach_of(self.version)
        self._reach_given = reach is not None

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
        outcomes = _conflicts(requests)
        lessons: dict[str, Lesson] = {}
        for request in requests:
            if request.id not in outcomes:
                try:
                    lessons[request.id] = self._lesson(request)
                except MeloError as error:
                    outcomes[request.id] = EditOutcome(request.id, "failed", str(error))
        valid = [r for r in requests if r.id in lessons]
        keys = self._keys_of(valid, lessons)
        self.reach = reach or self.reach
        reach = reach or (self._reach(valid, keys, near) if valid else None)
        losers = contradicted(valid, keys, reach, self.version) if reach else {}
        for loser, winner in losers.items():
            outcomes[loser] = superseded(loser, winner)
        trained = self._train(
            [x for x in lessons.values() if x.id not in losers], outcomes, progress
        )
        good = [r for r in valid if r.id in {t.id for t in trained}]
        gone = set(replaces) | {k for k, winner in losers.items() if winner in {r.id for r in good}}
        gone |= {r.id for r in good}
        gone &= set(self.version.edits)
        version = self.version.without(sorted(gone)) if gone else self.version
        if good and reach:
            own = np.stack([keys[r.id] for r in good])
            found = radii(good, own, reach, self.reader)
            start = max((e.order for e in self.version.edits.values()), default=-1) + 1
            edits, shards = _store(trained, good, own, found, start, self.backbone.dtype)
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
                "reach_sample": self.reach.sample if self.reach else 0,
                "false_activations": self.settings.false_activations,
            },
        )
        self.version = version
        return version

    def measure(self, requests: Sequence[EditRequest], near: Sequence[EditRequest] = ()) -> Reach:
        """The reach that an edit of these requests would have; measured now, or known before.

        Editors of several processes that are to train parts of one call each take it over.
        """
        valid = [r for r in requests if self._can_be_asked(r.prompt)]
        read = self.reader.read_with_states([r.prompt for r in valid]) if valid else []
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

    def routes(self, prompts: Sequence[str], keys: np.ndarray | None = None) -> list[Route]:
        """Where each prompt falls. keys: (N, K), read before; only borderline ones are read again."""
        index = self.version.index
        candidates = index.candidates(prompts)
        asked = [i for i, rows in enumerate(candidates) if rows or index.has_free]
        hits: list[Hit] = [Hit(None, float("nan"), False)] * len(prompts)
        if asked:
            some = [prompts[i] for i in asked]
            known = keys[asked] if keys is not None else self.reader.read(some)
            for i, hit in zip(
                asked, self._search(some, known, [candidates[i] for i in asked]), strict=True
            ):
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
                texts = self._run(asked.encoded, generation)
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
                found = self._run(self.backbone.encode([prompts[i] for i in rows]), generation)
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
        candidates = [[] for _ in prompts] if base else index.candidates(prompts)
        if base or not (index.has_free or any(candidates)):
            yield asked
            return
        mask = asked.encoded["attention_mask"]

        def on_keys(states: Tensor) -> GatheredBlocks | None:
            copies = len(states) // len(prompts)
            keys = self.reader.project(states[::copies], mask)
            hits = self._search(prompts, keys, candidates)
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
        return {
            "do_sample": False,
            "num_beams": 1,
            "max_new_tokens": self.backbone.max_answer_tokens,
            "pad_token_id": self._pad_token(),
            **generation,
        }

    def _run(self, encoded: dict[str, Tensor], generation: dict[str, Any]) -> list[str]:
        if not self.backbone.generates:
            model = self.backbone.model
            labels = model(**encoded).logits.argmax(-1).tolist()
            return [str(model.config.id2label[i]) for i in labels]
        ids = self.backbone.model.generate(**encoded, **self.generation(**generation))
        if self.backbone.task == "causal-lm":
            ids = ids[:, encoded["input_ids"].shape[1] :]
        return [self.backbone.decode(row) for row in ids]

    def _pad_token(self) -> int:
        pad = self.backbone.target_tokenizer.pad_token_id
        return int(pad if pad is not None else self.backbone.end_token)

    def _search(
        self, prompts: Sequence[str], keys: np.ndarray, candidates: Sequence[Sequence[int]]
    ) -> list[Hit]:
        """Search, and decide borderline keys by reading them alone, so that no batch matters."""
        index = self.version.index
        hits = index.search(keys, candidates, self.reader.tolerance)
        for i, hit in enumerate(hits):
            if hit.doubtful:
                key = self.reader.read_alone(prompts[i])
                hits[i] = index.search(key[None], [candidates[i]])[0]
        return hits

    def _route(self, hit: Hit) -> Route:
        if hit.member is None:
            return Route(None, None, hit.distance, float("nan"))
        edit = hit.member.edit
        inside = edit if hit.inside else None
        block = self.version[edit].block if hit.inside else None
        return Route(inside, block, hit.distance, hit.member.radius, edit)

    def _lesson(self, request: EditRequest) -> Lesson:
        self.backbone.encode([request.prompt])
        if self.backbone.generates:
            target = tuple(self.backbone.encode_target(request.target))
        else:
            target = (self.backbone.label(request.target),)
        others = (*request.rephrases, *_views(request, self.settings.views))
        prompts = (request.prompt, *(p for p in others if self._can_be_asked(p)))
        return Lesson(request.id, tuple(dict.fromkeys(prompts)), target)

    def _can_be_asked(self, prompt: str) -> bool:
        try:
            self.backbone.encode([prompt])
        except PromptError:
            return False
        return True

    def _train(
        self, lessons: Sequence[Lesson], outcomes: dict[str, EditOutcome], progress: Progress | None
    ) -> list[Trained]:
        """Train all lessons, those that don't decode to their targets again with more of everything."""
        done: dict[str, Trained] = {}
        waiting, count = list(lessons), len(lessons)
        for rank, settings in attempts(self.settings):
            again: list[Lesson] = []
            for start in range(0, len(waiting), self.settings.chunk):
                chunk = waiting[start : start + self.settings.chunk]
                began = time.perf_counter()
                trained = self._train_fitting(chunk, rank, settings, outcomes)
                texts = self._decoded(chunk, trained)
                seconds = (time.perf_counter() - began) / len(chunk)
                for lesson in chunk:
                    block = trained.get(lesson.id)
                    if block is None:
                        continue
                    ok = texts[lesson.id] == self._expected(lesson)
                    spent = outcomes[lesson.id].seconds if lesson.id in outcomes else 0.0
                    outcomes[lesson.id] = EditOutcome(
                        lesson.id,
                        "trained" if ok else "failed",
                        "" if ok else f'decodes to "{texts[lesson.id][:80]}" at rank {rank}',
                        block.steps,
                        rank,
                        seconds=spent + seconds,
                    )
                    if ok:
                        done[lesson.id] = block
                    else:
                        again.append(lesson)
                if progress is not None:
                    progress("training blocks", len(done), count)
            waiting = again
        return [done[x.id] for x in lessons if x.id in done]

    def _train_fitting(
        self,
        chunk: Sequence[Lesson],
        rank: int,
        settings: EditSettings,
        outcomes: dict[str, EditOutcome],
    ) -> dict[str, Trained]:
        """One chunk; halved where memory does not suffice or a loss breaks down, to save the others."""
        try:
            blocks = train_chunk(self.backbone, self.runtime, chunk, settings, rank)
            return {b.id: b for b in blocks}
        except (RuntimeError, MeloError, MemoryError) as error:
            if not isinstance(error, MeloError) and not _out_of_memory(error):
                raise
            if len(chunk) == 1:
                outcomes[chunk[0].id] = EditOutcome(
                    chunk[0].id, "failed", str(error).splitlines()[0]
                )
                return {}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            half = len(chunk) // 2
            return self._train_fitting(
                chunk[:half], rank, settings, outcomes
            ) | self._train_fitting(chunk[half:], rank, settings, outcomes)

    @torch.inference_mode()
    def _decoded(self, chunk: Sequence[Lesson], trained: dict[str, Trained]) -> dict[str, str]:
        """What each lesson's own prompt decodes to, freely, with its block."""
        lessons = [x for x in chunk if x.id in trained]
        if not lessons:
            return {}
        try:
            return self._decoded_together(lessons, trained)
        except (RuntimeError, MemoryError) as error:
            if len(lessons) == 1 or not _out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            half = len(lessons) // 2
            return self._decoded(lessons[:half], trained) | self._decoded(lessons[half:], trained)

    def _decoded_together(
        self, lessons: Sequence[Lesson], trained: dict[str, Trained]
    ) -> dict[str, str]:
        shard = _shard(
            [trained[x.id] for x in lessons], np.zeros((len(lessons), 1)), self.backbone.dtype
        )
        places = [(shard, i) for i in range(len(lessons))]
        blocks = gather(places, self.backbone.device, self.backbone.dtype)
        prompts = [x.prompts[0] for x in lessons]
        known = {i: x.states for i, x in enumerate(lessons) if x.states is not None}
        encoded = (
            encoder_inputs(self.backbone, prompts, known)
            if known
            else self.backbone.encode(prompts)
        )
        with self.runtime.running(Pass(blocks)):
            texts = self._run(encoded, {})
        return {x.id: text for x, text in zip(lessons, texts, strict=True)}

    def _expected(self, lesson: Lesson) -> str:
        if self.backbone.generates:
            return self.backbone.decode(list(lesson.target))
        return str(self.backbone.model.config.id2label[lesson.target[0]])

    def _keys_of(
        self, requests: Sequence[EditRequest], lessons: dict[str, Lesson]
    ) -> dict[str, np.ndarray]:
        """Keys (K,) as each prompt has it alone: what is stored does not depend on a batch.

        Where a key is made from the encoder's output, the lessons go on from that output.
        """
        keys = {}
        read = self.reader.read_with_states([r.prompt for r in requests]) if requests else []
        for request, (key, states) in zip(requests, read, strict=True):
            keys[request.id] = key
            if self.reader.reads_the_encoder:
                lessons[request.id] = replace(lessons[request.id], states=states.clone())
        return keys

    def _reach(
        self,
        requests: Sequence[EditRequest],
        keys: Mapping[str, np.ndarray],
        near: Sequence[EditRequest],
    ) -> Reach:
        if self.reach is None or not (self.reach.settled or self._reach_given):
            known = [e.request for e in self.version.edits.values()]
            self.reach = measure_reach(
                self.reader,
                [*requests, *known],
                self.settings.false_activations,
                near,
                seed=self.settings.seed,
                known={r.prompt: keys[r.id] for r in requests},
            )
        return self.reach


def _out_of_memory(error: Exception) -> bool:
    """CUDA has an error of its own for it, the CPU's allocator only says so."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(
        error
    )


def _identity(request: EditRequest) -> tuple[str, str]:
    return " ".join(request.prompt.split()).casefold(), (request.subject or "").casefold()


def _conflicts(requests: Sequence[EditRequest]) -> dict[str, EditOutcome]:
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


def _views(request: EditRequest, count: int) -> list[str]:
    """Other questions about the subject, trained to the same target.

    A block acts only where it is routed to, so it may as well say its target whatever the wording:
    then it does so for rephrases that it has not seen.
    """
    wordings = relations_file()["relations"]
    chooser = random.Random(request.id)
    views = []
    for _ in range(count):
        relation = wordings[chooser.choice(sorted(wordings))]
        wording = str(chooser.choice(relation["wordings"]))
        views.append(wording.replace(SLOT, request.subject or request.prompt))
    return views


def _reach_of(version: Version) -> Reach | None:
    bound, free = version.settings.get("reach_bound"), version.settings.get("reach_free")
    if bound is None or free is None:
        return None
    return Reach(bound, free, int(version.settings.get("reach_sample", LARGE_SAMPLE)))


def _store(
    trained: Sequence[Trained],
    requests: Sequence[EditRequest],
    keys: np.ndarray,
    radius: Sequence[float],
    start: int,
    dtype: torch.dtype,
) -> tuple[list[Edit], list[Shard]]:
    """Blocks into shards, one for each rank, and the edits that refer to them."""
    edits, shards = [], []
    ranks = [t.pairs[0][0].shape[1] for t in trained]
    for rank in sorted(set(ranks)):
        members = [i for i, r in enumerate(ranks) if r == rank]
        shard = _shard([trained[i] for i in members], keys[members], dtype)
        shards.append(shard)
        for row, i in enumerate(members):
            block = shard.block_hash(row)
            edits.append(
                Edit(requests[i], shard.name, row, block, rank, float(radius[i]), start + i)
            )
    return edits, shards


def _shard(trained: Sequence[Trained], keys: np.ndarray, dtype: torch.dtype) -> Shard:
    pairs = []
    for target in range(len(trained[0].pairs)):
        a = torch.stack([t.pairs[target][0] for t in trained]).to(dtype)
        b = torch.stack([t.pairs[target][1] for t in trained]).to(dtype)
        pairs.append((a, b))
    return Shard.from_tensors(pairs, keys)
