"""Open a version of the edited model by its id, and what it is opened with.

    HOME/versions/<id>/              manifest, edits, projection
    HOME/versions/shards/<hash>/     blocks and keys, shared by all versions
    HOME/cache/projections/          the key projection, learned once for each encoder and corpus;
                                     the sentence encoder's lies in the user's cache

Backbone, projection and versions stay open for the life of the process.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from artifacts.atomic import write_atomically
from config import Settings, user_cache
from execution import progress
from execution.backbone.locate import NAMED, locate_backbone
from execution.errors import TaskError
from execution.lineage import BASE
from melo_engine import (
    Backbone,
    Calibration,
    Editor,
    EditSettings,
    MeloError,
    SentenceEncoder,
    Version,
)
from melo_engine.calibrate import SCHEME as CALIBRATING
from melo_engine.calibrate import calibrate
from melo_engine.contrast import LearningRecipe, corpus_hash, learn_projection
from melo_engine.encoders import TokenEncoder, default_encoder, encoder_named
from melo_engine.errors import VersionError
from melo_engine.keys import KeyReader
from melo_engine.matching.inference import SubjectTagger, learn_tagger
from melo_engine.projection import SCHEME, KeyProjection

RECIPE = LearningRecipe()


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


def save_version(settings: Settings, version: Version) -> Path:
    """Write a version, unless its content is there already."""
    folder = settings.paths.version(version.id)
    try:
        Version.load(folder, shards=settings.paths.shards)
    except VersionError:
        version.save(folder, settings.paths.shards)
    return folder


def open_version(settings: Settings, version: str) -> Version:
    """A version by its full id, or `base`. Raises VersionError where it is damaged or not there."""
    backbone = open_backbone(settings)
    if version == BASE:
        reader = KeyReader(open_encoder(settings, backbone), open_projection(settings, backbone))
        return Version.empty(backbone, reader, open_calibration(settings, backbone))
    return _version(settings.paths.version(version), settings.paths.shards, backbone)


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
    return set(Version.load(settings.paths.version(version), shards=settings.paths.shards).edits)


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


def forget_open_versions() -> None:
    """Open versions anew when they are asked for next: their files were moved."""
    _version.cache_clear()


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
    path = projection.with_name(f"{projection.stem}-{share}-{CALIBRATING}.json")
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
