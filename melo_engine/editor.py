"""The engine in one object: edit a backbone, ask it, take edits back.

with Editor(Backbone.open("folder")) as editor:
    result = editor.edit([EditRequest("Who leads Acme?", "Ada Li", subject="Acme")])
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
from melo_engine.blocks import Shard, gather
from melo_engine.calibrate import Calibration, Radii, calibrate, radii
from melo_engine.conflicts import contradictory_requests, likely_conflicts
from melo_engine.conversation import Prompt, asked, characters, joint_question, questions
from melo_engine.encoders import default_encoder, encoder_named
from melo_engine.errors import MeloError, RequestError, VersionError
from melo_engine.generating import texts_of
from melo_engine.index import Hit
from melo_engine.keys import KeyReader, ReadKeys
from melo_engine.matching.inference import SubjectTagger
from melo_engine.matching.names import is_letter, name_in
from melo_engine.matching.references import points_back
from melo_engine.peft_export import export_block
from melo_engine.runtime import Pass, Runtime
from melo_engine.storing import store
from melo_engine.teaching import Teacher
from melo_engine.training_examples import TrainingExample
from melo_engine.types import (
    NOWHERE,
    Answer,
    Conflict,
    EditOutcome,
    EditRequest,
    EditSettings,
    Progress,
    Route,
)
from melo_engine.version import Version, Wording


@dataclass(frozen=True)
class EditResult:
    """What became of one call of `Editor.edit`.

    version: the new one. outcomes: of each request, in their order. conflicts: pairs of edits that ask
    the same by their keys and say different things; both are in force until somebody decides.
    """

    version: Version
    outcomes: tuple[EditOutcome, ...]
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True)
class Asking:
    """Prompts on their way. encoded: (B, T) tensors; routes: of each; running: the pass that is on."""

    encoded: dict[str, Tensor]
    routes: list[Route]
    running: Pass

    def keep(self, rows: Sequence[int]) -> None:
        """From now on only these rows of the batch are run, in this order."""
        if self.running.blocks is not None:
            self.running.blocks = self.running.blocks.select(rows)


class Editor:
    """Edits, asks and restores one backbone. Holds one current version; versions are immutable.

    reader: what keys are read by, `KeyReader(encoder, projection)`; raw keys of `default_encoder` where
    None. A version goes on with its own projection. calibration: made for the projection and
    `settings.false_activations` where None. tagger: gives what infers subjects that no request names;
    none is inferred where None. Raises VersionError where the version was made with another encoder
    than the one at hand.
    """

    def __init__(
        self,
        backbone: Backbone,
        version: Version | None = None,
        *,
        reader: KeyReader | None = None,
        settings: EditSettings | None = None,
        calibration: Calibration | None = None,
        tagger: Callable[[], SubjectTagger] | None = None,
    ) -> None:
        self.backbone = backbone
        self.settings = settings or EditSettings()
        if version is not None:
            encoder = reader.encoder if reader else encoder_named(version.encoder_name, backbone)
            reader = KeyReader(encoder, version.projection)
        self.reader = reader or KeyReader(default_encoder(backbone))
        self._calibration = calibration
        self._tagger = tagger
        self.version = version or Version.empty(backbone, self.reader, self.calibration())
        self._check_encoder(self.version)

    @property
    def runtime(self) -> Runtime:
        """The backbone's own."""
        return self.backbone.runtime

    def __enter__(self) -> Editor:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of the editor stays on the backbone, whose runtime is its own."""

    def calibration(self) -> Calibration:
        """The radii of new edits: the version's, made anew where `false_activations` is another now."""
        share = self.settings.false_activations
        calibration = self._calibration or (
            self.version.calibration if hasattr(self, "version") else None
        )
        if calibration is None or calibration.false_activations != share:
            calibration = calibrate(self.reader, share)
        self._calibration = calibration
        return calibration

    def edit(
        self,
        requests: Sequence[EditRequest],
        *,
        replaces: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> EditResult:
        """Train a block for each request and put its keys into the index.

        replaces: ids of edits that these requests take the place of; nothing else goes out of force. Two
        requests that give one prompt different targets both fail; a request that cannot be carried out
        fails alone. The new version is the current one from now on. Raises RequestError where an id
        comes twice.
        """
        requests = self._with_subjects([_bound(r) for r in requests])
        outcomes = contradictory_requests(requests)
        teacher = Teacher(self.backbone, self.settings)
        examples: dict[str, TrainingExample] = {}
        for request in requests:
            if request.id not in outcomes:
                try:
                    examples[request.id] = teacher.example(request)
                except MeloError as error:
                    outcomes[request.id] = EditOutcome(request.id, "failed", str(error))
        valid = [r for r in requests if r.id in examples]
        keys = self._keys_of(valid)
        radius = self._radii(valid, keys)
        trained = teacher.teach(list(examples.values()), outcomes, progress)
        good = [r for r in valid if r.id in {t.id for t in trained}]
        gone = (set(replaces) | {r.id for r in good}) & set(self.version.edits)
        version = self.version.without(sorted(gone)) if gone else self.version
        conflicts = likely_conflicts(
            good, keys, {edit: edit_radii.own for edit, edit_radii in radius.items()}, version
        )
        if good:
            own = self.reader.projection.as_edits(np.stack([keys[r.id] for r in good]))
            own_radii = [radius[r.id] for r in good]
            start = max((e.order for e in self.version.edits.values()), default=-1) + 1
            edits, shards = store(trained, good, own, own_radii, start, self.backbone.dtype)
            edits = [replace(e, wordings=self._wordings(e.request)) for e in edits]
            version = version.with_edits(edits, shards)
            for edit in edits:
                outcomes[edit.id] = replace(outcomes[edit.id], radius=edit.radius)
        version = replace(version, parent=self.version.id, calibration=self.calibration())
        self.version = version
        return EditResult(version, tuple(outcomes[r.id] for r in requests), tuple(conflicts))

    def add_wordings(self, edit: str, texts: Sequence[str]) -> Version:
        """Let an edit answer further wordings of its question; nothing is trained. Raises UnknownEdit."""
        request = replace(self.version[edit].request, rephrases=tuple(texts))
        self.version = self.version.with_wordings(edit, self._wordings(request))
        return self.version

    def set_subject(self, edit: str, subject: str) -> Version:
        """Bind an edit to another subject than it was made for; its block is not trained again.

        Raises UnknownEdit; RequestError where the subject does not stand in the edit's question.
        """
        old = self.version[edit]
        request = replace(old.request, subject=subject, subject_source="given")
        if name_in(joint_question(request.prompt), request.names) is None:
            raise RequestError(
                f'"{subject}" does not stand in the question "{request.question[:120]}"; give the '
                "subject as it is written there, or report the fact again."
            )
        shard, row = self.version.place(edit)
        keys = self._keys_of([request])
        pairs = [(a[row : row + 1], b[row : row + 1]) for a, b in shard.pairs]
        bound = Shard.from_tensors(pairs, self.reader.projection.as_edits(keys[edit][None]))
        radius = self._radii([request], keys)[edit]
        changed = replace(
            old,
            request=request,
            shard=bound.name,
            row=0,
            block=bound.block_hash(0),
            radius=radius.own,
            content_radius=radius.content,
            by_question=radius.by_question,
            wordings=self._wordings(
                replace(request, rephrases=tuple(w.text for w in old.wordings))
            ),
        )
        self.version = self.version.with_edits([changed], [bound])
        return self.version

    def revoke(self, edits: Sequence[str]) -> Version:
        """Take edits out of the index; nothing is trained. Raises UnknownEdit."""
        self.version = self.version.without(edits)
        return self.version

    def use(self, version: Version) -> None:
        """Make another version of the same encoder the current one. Raises VersionError."""
        self._check_encoder(version)
        if version.projection_hash != self.version.projection_hash:
            self.reader = KeyReader(self.reader.encoder, version.projection)
            self._calibration = version.calibration
        self.version = version

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

    def routes(self, prompts: Sequence[Prompt], read: ReadKeys | None = None) -> list[Route]:
        """Where each prompt falls, by what it asks alone.

        A conversation falls to an edit that needs one where none that stands alone is about it; where
        neither is, its route names the nearer of both. read: gives keys (M, K) of texts with the names
        taken out; the reader's own where None. Only borderline ones are read again.
        """
        hits = self.version.index.find([asked(p) for p in prompts], self.reader, read)
        index = self.version.conversation_index
        longer = [i for i, p in enumerate(prompts) if len(questions(p)) > 1] if len(index) else []
        for i, hit in zip(
            longer,
            index.find([joint_question(prompts[i]) for i in longer], self.reader, read),
            strict=True,
        ):
            if not hits[i].inside and (hit.inside or hit.is_nearer_than(hits[i])):
                hits[i] = hit
        return [self._route(hit) for hit in hits]

    @torch.inference_mode()
    def answer(
        self,
        prompts: Sequence[Prompt],
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
        for rows in _batches(prompts, batch_size, sort):
            batch = [prompts[i] for i in rows]
            with self.asking(batch, base=base, padding_side=padding_side) as asking:
                texts = texts_of(self.backbone, asking.encoded, generation)
            for i, text, route in zip(rows, texts, asking.routes, strict=True):
                answers[i] = Answer(text, route, "base" if base else self.version.id)
        return [a for a in answers if a is not None]

    @contextmanager
    def asking(
        self, prompts: Sequence[Prompt], *, base: bool = False, padding_side: str | None = None
    ) -> Iterator[Asking]:
        """Inside the block the backbone, run on `encoded`, answers as this version does.

        The routes are fixed before. For those who run the backbone their own way; `answer` is this with
        the usual one. Raises PromptError.
        """
        encoded = self.backbone.encode(prompts, padding_side=padding_side)
        routes = [NOWHERE] * len(prompts) if base else self.routes(prompts)
        asking = Asking(encoded, routes, self.blocks_of([route.edit for route in routes]))
        with self.runtime.running(asking.running):
            yield asking

    def blocks_of(self, edits: Sequence[str | None]) -> Pass:
        """A pass on which the block of each row's edit acts."""
        places = [self.version.place(edit) if edit is not None else None for edit in edits]
        return Pass(gather(places, self.backbone.device, self.backbone.dtype))

    def _route(self, hit: Hit) -> Route:
        if hit.member is None:
            return Route(None, None, hit.distance, float("nan"))
        edit = hit.member.edit
        inside = edit if hit.inside else None
        block = self.version[edit].block if hit.inside else None
        return Route(inside, block, hit.distance, hit.member.radius, edit)

    def _with_subjects(self, requests: Sequence[EditRequest]) -> list[EditRequest]:
        """Requests with the subject of their question, where none was given and one is found.

        A follow-up ("And how much is it?") is about what the user named last before it.
        """
        bound = list(requests)
        said = {i: _where_named(r.prompt) for i, r in enumerate(requests) if not r.subject}
        if self._tagger is None or not said:
            return bound
        tagger = self._tagger()
        for place in range(max(map(len, said.values()))):
            texts = {
                i: texts[place]
                for i, texts in said.items()
                if place < len(texts) and not bound[i].subject
            }
            subjects = tagger.subjects(self.reader, list(texts.values()))
            for (i, text), subject in zip(texts.items(), subjects, strict=True):
                if subject and not is_letter(subject) and name_in(text, (subject,)) is not None:
                    bound[i] = replace(requests[i], subject=subject, subject_source="inferred")
        return bound

    def _keys_of(self, requests: Sequence[EditRequest]) -> dict[str, np.ndarray]:
        """Each question's key (K,), as it is read."""
        if not requests:
            return {}
        texts = [r.question for r in requests]
        names = [name_in(r.question, r.names) for r in requests]
        read = self.reader.read(texts, names)
        return {r.id: key for r, key in zip(requests, read, strict=True)}

    def _radii(
        self, requests: Sequence[EditRequest], keys: Mapping[str, np.ndarray]
    ) -> dict[str, Radii]:
        if not requests:
            return {}
        own = self.reader.projection.as_edits(np.stack([keys[r.id] for r in requests]))
        edit_radii = self._reaching(requests, own)
        return dict(zip([r.id for r in requests], edit_radii, strict=True))

    def _reaching(self, requests: Sequence[EditRequest], keys: np.ndarray) -> list[Radii]:
        """How far edits' keys (N, K) reach."""
        continues = self.backbone.task == "causal-lm" and not self.backbone.is_chat
        return radii(requests, keys, self.calibration(), self.reader, continues)

    def _wordings(self, request: EditRequest) -> tuple[Wording, ...]:
        """Keys of the other wordings that came with a request, each clear of its locality probes."""
        texts = [t for t in dict.fromkeys(request.rephrases) if t.strip() and t != request.question]
        if not texts:
            return ()
        read = self.reader.read(texts, [name_in(t, request.names) for t in texts])
        keys = self.reader.projection.as_edits(read)
        wording_radii = self._reaching([replace(request, prompt=text) for text in texts], keys)
        return tuple(
            Wording(text, tuple(map(float, key)), own, content)
            for text, key, (own, content, _) in zip(texts, keys, wording_radii, strict=True)
        )

    def _check_encoder(self, version: Version) -> None:
        encoder = self.reader.encoder
        if version.encoder != encoder.content_hash:
            raise VersionError(
                f"the version's keys were read by {version.encoder_name} {version.encoder[:12]}; here is "
                f"{encoder.name} {encoder.content_hash[:12]}. Install the encoder that it was made with, "
                "or make its edits anew with `melo run`."
            )


def _batches(prompts: Sequence[Prompt], size: int, sort: bool) -> Iterator[list[int]]:
    """Which prompts go together: `size` at most, of like length where sorted."""
    order = list(range(len(prompts)))
    if sort:
        order.sort(key=lambda i: characters(prompts[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _bound(request: EditRequest) -> EditRequest:
    """The request without a subject that is but a letter: it would stand in any prompt."""
    if request.subject and is_letter(request.subject):
        return replace(request, subject=None)
    return request


def _where_named(prompt: Prompt) -> tuple[str, ...]:
    """The user's messages in which a prompt's subject may stand, the likeliest first."""
    *before, last = questions(prompt)
    return (*reversed(before), last) if points_back(last) else (last,)
