"""Open a version of the edited model by its id or by what it is called.

    champion, candidate, previous    as the ledger says
    base                             the backbone without any edit
    9f2c...                          an id, or a prefix of at least four characters

    HOME/versions/<id>/              manifest, edits, projection
    HOME/versions/shards/<hash>/     blocks and keys, shared by all versions
    HOME/cache/projections/          the key projection, learned once for each encoder and corpus;
                                     the sentence encoder's lies in the user's cache

Backbone, projection and versions stay open for the life of the process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from artifacts.atomic import write_atomically
from artifacts.tags import CANDIDATE, CHAMPION, PREVIOUS
from config import Settings, user_cache
from ledger import Ledger, UnknownId
from ledger import Version as Recorded
from melo_engine import (
    Backbone,
    Calibration,
    Editor,
    EditSettings,
    MeloError,
    SentenceEncoder,
    Version,
)
from melo_engine.calibrate import calibrate
from melo_engine.contrast import Recipe, corpus_hash, learn_projection
from melo_engine.encoders import TokenEncoder, default_encoder, encoder_named
from melo_engine.errors import VersionError
from melo_engine.keys import KeyReader
from melo_engine.matching.inference import SubjectTagger, learn_tagger
from melo_engine.projection import SCHEME, KeyProjection
from registry.relocation import put_right
from tasks import progress
from tasks.errors import TaskError, UnknownVersion
from tasks.locate import NAMED, locate_backbone

log = logging.getLogger(__name__)

BASE = "base"
RECIPE = Recipe()


def open_ledger(settings: Settings) -> Ledger:
    """The home's ledger, created where it is missing; what names an old place is put right."""
    if (moved := put_right(settings)) is not None:
        log.warning("%s", moved)
    return Ledger.open(
        settings.paths.ledger,
        timeout=settings.ledger.timeout_seconds,
        threads=settings.ledger.threads,
        read_copy=settings.paths.read_ledger,
    )


def backbone_path(settings: Settings) -> str:
    """Where the model is that is edited; made now where it is a name or a GGUF file not yet seen.

    Raises TaskError where none is set, or none can be made.
    """
    path = settings.backbone.path
    if path is None:
        raise TaskError(
            f"no backbone is set. Prepare one with `melo backbone prepare --from FILE`, or set "
            f"backbone.path in {settings.paths.settings} to {', '.join(NAMED)}, a model's folder, a "
            "GGUF file or a hub id."
        )
    local = Path(path).expanduser()
    in_home = settings.home / local
    if path not in NAMED and not local.is_absolute() and in_home.exists():
        return locate_backbone(in_home)
    return locate_backbone(path)


def open_backbone(settings: Settings) -> Backbone:
    """The frozen model, opened once in a process. Raises TaskError, BackboneError."""
    chosen = settings.backbone
    torch.set_num_threads(min(settings.edit.threads, _threads_allowed()))
    return _backbone(
        backbone_path(settings),
        chosen.task,
        chosen.device,
        chosen.dtype,
        chosen.max_prompt_tokens,
        chosen.chat,
        chosen.system_prompt,
    )


def open_encoder(settings: Settings, backbone: Backbone) -> TokenEncoder:
    """What reads keys: as `edit.key_reader` says. Raises BackboneError where it is not there."""
    chosen = settings.edit.key_reader
    return default_encoder(backbone) if chosen == "auto" else encoder_named(chosen, backbone)


def open_projection(settings: Settings, backbone: Backbone) -> KeyProjection:
    """The key projection of the encoder: from the cache, or learned now and kept there."""
    encoder = open_encoder(settings, backbone)
    return _projection(projection_file(settings, encoder), encoder)


def open_calibration(settings: Settings, backbone: Backbone) -> Calibration:
    """The radii for `edit.false_activation_rate`: from the cache, or measured now and kept there."""
    encoder, share = open_encoder(settings, backbone), settings.edit.false_activation_rate
    return _calibration(projection_file(settings, encoder), encoder, share)


def open_tagger(settings: Settings, backbone: Backbone) -> SubjectTagger:
    """What infers the subject of a question: from the cache, or learned now and kept there."""
    encoder = open_encoder(settings, backbone)
    return _tagger(projection_file(settings, encoder).with_suffix(".tagger.safetensors"), encoder)


def projection_file(settings: Settings, encoder: TokenEncoder) -> Path:
    """Where an encoder's key projection is kept: the sentence encoder's in the user's cache, for all."""
    parts = (SCHEME, encoder.content_hash, corpus_hash(), RECIPE)
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]
    shared = encoder.name == SentenceEncoder.name
    cache = user_cache() if shared else settings.paths.cache
    return cache / "projections" / f"{digest}.safetensors"


def folder_of(settings: Settings, version: str) -> Path:
    """Where a version lies."""
    return settings.paths.versions / version


def shards_of(settings: Settings) -> Path:
    """The store of blocks and keys that all versions share."""
    return settings.paths.versions / "shards"


def answers_file(settings: Settings) -> Path:
    """The gate's cache of answers; keys and routes of prompts lie beside it."""
    return settings.paths.cache / "answers.sqlite"


def report_folder(settings: Settings, version: str) -> Path:
    """Where a version's gate leaves gate.json and gate.html."""
    return settings.home / "reports" / version


def save_version(settings: Settings, version: Version) -> Path:
    """Write a version, unless its content is there already."""
    folder = folder_of(settings, version.id)
    try:
        Version.load(folder, shards=shards_of(settings))
    except VersionError:
        version.save(folder, shards_of(settings))
    return folder


def open_version(settings: Settings, version: str) -> Version:
    """A version by its full id, or `base`. Raises VersionError where it is damaged or not there."""
    backbone = open_backbone(settings)
    if version == BASE:
        reader = KeyReader(open_encoder(settings, backbone), open_projection(settings, backbone))
        return Version.empty(backbone, reader, open_calibration(settings, backbone))
    return _version(folder_of(settings, version), shards_of(settings), backbone)


def open_editor(settings: Settings, version: str) -> Editor:
    """An editor that holds a version, given by its full id or `base`."""
    backbone = open_backbone(settings)
    return Editor(
        backbone,
        open_version(settings, version),
        encoder=open_encoder(settings, backbone),
        settings=edit_settings(settings),
        calibration=open_calibration(settings, backbone),
        tagger=lambda: open_tagger(settings, backbone),
    )


def held_edits(settings: Settings, version: str) -> set[str]:
    """Ids of the edits that a version holds, read without opening a backbone."""
    if version == BASE:
        return set()
    return set(Version.load(folder_of(settings, version), shards=shards_of(settings)).edits)


def edit_settings(settings: Settings) -> EditSettings:
    """The engine's settings, from the home's."""
    chosen = settings.edit
    return EditSettings(
        rank=chosen.rank,
        max_rank=chosen.max_rank,
        learning_rate=chosen.learning_rate,
        max_steps=chosen.max_steps,
        false_activations=chosen.false_activation_rate,
    )


def resolve(ledger: Ledger, name: str) -> str:
    """The id that a name, a prefix or an id stands for, `base` itself. Raises UnknownVersion."""
    if name == BASE:
        return BASE
    if name == CHAMPION:
        champion = ledger.champions.current()
        if champion is None:
            raise UnknownVersion("there is no champion yet. Run `melo run`, or ask version base.")
        return champion.version
    if name == PREVIOUS:
        champion = ledger.champions.current()
        if champion is None or champion.previous is None:
            raise UnknownVersion("there is no previous champion. See `melo versions list`.")
        return champion.previous
    if name == CANDIDATE:
        return candidate(ledger)
    try:
        return ledger.versions.get(name).id
    except UnknownId:
        raise UnknownVersion(
            f'no version "{name}" is on record. Give an id of `melo versions list`, champion, '
            "candidate, previous or base."
        ) from None


def forget_open_versions() -> None:
    """Open versions anew when they are asked for next: their files were moved."""
    _version.cache_clear()


def candidate(ledger: Ledger) -> str:
    """The newest version that passed its gate. Raises UnknownVersion."""
    passed = [
        v.id for v in ledger.versions.all() if v.verdict == "passed" and not v.info.get("deleted")
    ]
    if not passed:
        raise UnknownVersion("no version has passed its gate yet. Run `melo run`.")
    return passed[-1]


def head(ledger: Ledger) -> str | None:
    """What the next version is built upon: the newest passed descendant of the champion.

    One with an edit that was withdrawn or made ready again since, or that lost a contradiction to an
    active one, can't serve: nothing is built on it.
    """
    champion = ledger.champions.current()
    tip = champion.version if champion else None
    since = champion.at if champion else None
    for version, built in sorted(_built(ledger), key=lambda item: item[1].at):
        later = since is None or built.at >= since
        usable = version.verdict == "passed" and not version.info.get("deleted")
        follows = later and usable and built.upon == tip
        if follows and stands(ledger, version) and not ledger.conflicts.lost(version.edits_added):
            tip = version.id
    return tip


@dataclass(frozen=True)
class Built:
    """upon: the version that another was built upon, None for the backbone; at: when."""

    upon: str | None
    at: datetime

    @classmethod
    def of(cls, version: Recorded) -> Built:
        """The last time: the same content can be built again, upon a version that came later."""
        told = version.info.get("built")
        if not isinstance(told, dict):
            return cls(version.parent, version.created_at)
        upon = None if told["upon"] == BASE else str(told["upon"])
        return cls(upon, datetime.fromisoformat(told["at"]))


def descends(ledger: Ledger, version: str, champion: str | None) -> bool:
    """Whether a version was built upon the champion, at once or through others.

    Not where it, or one of these, has served since it was built and was taken back: what a person
    undid would return.
    """
    built = {known.id: made for known, made in _built(ledger)}
    ended = {c.previous: c.at for c in reversed(ledger.champions.history(limit=2**62))}
    seen: set[str] = set()
    at: str | None = version
    while at in built and at not in seen:
        if at in ended and ended[at] >= built[at].at:
            return False
        if built[at].upon == champion:
            return True
        seen.add(at)
        at = built[at].upon
    return False


def _built(ledger: Ledger) -> list[tuple[Recorded, Built]]:
    return [(version, Built.of(version)) for version in ledger.versions.all()]


def stands(ledger: Ledger, version: Recorded) -> bool:
    """Whether every edit that a version brought may still serve with it."""
    brought = ledger.edits.find(ids=version.edits_added) if version.edits_added else []
    return all(edit.state in ("trained", "active", "superseded") for edit in brought)


@lru_cache(maxsize=2)
def _backbone(
    path: str, task: str | None, device: str, dtype: str, limit: int | None, chat: str,
    system_prompt: str | None,
) -> Backbone:  # fmt: skip
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    opened = Backbone.open(
        path, task, device=device, dtype=getattr(torch, dtype), chat=chat,  # type: ignore[arg-type]
        system_prompt=system_prompt,
    )  # fmt: skip
    opened.max_prompt_tokens = min(opened.max_prompt_tokens, limit or opened.max_prompt_tokens)
    return opened


@lru_cache(maxsize=2)
def _projection(path: Path, encoder: TokenEncoder) -> KeyProjection:
    try:
        return KeyProjection.from_bytes(path.read_bytes())
    except (FileNotFoundError, MeloError):
        pass
    learned = learn_projection(KeyReader(encoder), recipe=RECIPE, progress=progress.report)
    write_atomically(path, learned.to_bytes())
    return learned


@lru_cache(maxsize=4)
def _calibration(projection: Path, encoder: TokenEncoder, share: float) -> Calibration:
    path = projection.with_name(f"{projection.stem}-{share}.json")
    try:
        return Calibration(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        pass
    measured = calibrate(KeyReader(encoder, _projection(projection, encoder)), share)
    write_atomically(path, json.dumps(measured.as_dict()).encode())
    return measured


@lru_cache(maxsize=2)
def _tagger(path: Path, encoder: TokenEncoder) -> SubjectTagger:
    try:
        return SubjectTagger.from_bytes(path.read_bytes())
    except (FileNotFoundError, MeloError):
        pass
    learned = learn_tagger(encoder, progress=progress.report)
    write_atomically(path, learned.to_bytes())
    return learned


@lru_cache(maxsize=6)
def _version(folder: Path, shards: Path, backbone: Backbone) -> Version:
    return Version.load(folder, backbone, shards)


def _threads_allowed() -> int:
    return max(1, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
