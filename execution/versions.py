"""The versions of a home: opened by id, edited, saved; and what they are opened with.

    HOME/versions/<id>/              manifest, edits, projection
    HOME/versions/shards/<hash>/     blocks and keys, shared by all versions
    HOME/cache/projections/          the key projection, learned once for each encoder and corpus;
                                     the sentence encoder's lies in the user's cache

Backbone, projection and versions stay open for the life of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from config import BackboneSettings, Settings, user_cache
from execution import progress
from execution.backbone.locate import NAMED, locate_backbone
from execution.errors import TaskError
from execution.lineage import BASE
from execution.made_once import made_once
from melo_engine import (
    Backbone,
    Calibration,
    Editor,
    EditSettings,
    MeloError,
    PromptSettings,
    SentenceEncoder,
    Version,
)
from melo_engine.calibrate import SCHEME as CALIBRATING
from melo_engine.calibrate import calibrate
from melo_engine.contrast import LearningRecipe, corpus_hash, learn_projection
from melo_engine.encoders import TokenEncoder, default_encoder, encoder_named
from melo_engine.errors import VersionError
from melo_engine.keys import KeyReader
from melo_engine.matching.inference import SCHEME as TAGGING
from melo_engine.matching.inference import SubjectTagger, learn_tagger
from melo_engine.projection import SCHEME, KeyProjection

RECIPE = LearningRecipe()


class Versions:
    """The versions of a home, and the model, the encoder and the keys that they are opened with."""

    def __init__(self, settings: Settings, backbone: Backbone | None = None) -> None:
        """backbone: a model that is open already; None opens the one that the settings name."""
        self.settings = settings
        if backbone is not None:
            vars(self)["backbone"] = backbone

    def open(self, version: str) -> Version:
        """A version by its full id, or `base`. Raises VersionError where it is damaged or not there."""
        if version == BASE:
            reader = KeyReader(self.encoder, self.projection)
            return Version.empty(self.backbone, reader, self.calibration)
        paths = self.settings.paths
        return _version(paths.version(version), paths.shards, self.backbone)

    def editor(self, version: str) -> Editor:
        """An editor that holds a version, given by its full id or `base`.

        A version whose keys are of an earlier projection goes on with that, and with its own radii.
        """
        opened = self.open(version)
        current = opened.projection_hash == self.projection.content_hash()
        return Editor(
            self.backbone,
            opened,
            reader=KeyReader(self.encoder, opened.projection),
            settings=self.edit_settings,
            calibration=self.calibration if current else None,
            tagger=lambda: self.tagger,
        )

    def edits_of(self, version: str) -> set[str]:
        """Ids of the edits that a version holds, read without opening a backbone."""
        if version == BASE:
            return set()
        paths = self.settings.paths
        return set(Version.load(paths.version(version), shards=paths.shards).edits)

    def save(self, version: Version) -> Path:
        """Write a version, unless its content is there already; that counts as new from now on."""
        paths = self.settings.paths
        folder = paths.version(version.id)
        for used in (folder, *(paths.shards / shard for shard in version.shards)):
            with contextlib.suppress(OSError):  # not there yet, or another user's
                os.utime(used)
        try:
            Version.load(folder, shards=paths.shards)
        except VersionError:
            version.save(folder, paths.shards)
        return folder

    @staticmethod
    def forget_opened() -> None:
        """Open versions anew when they are asked for next: their files were moved."""
        _version.cache_clear()

    def backbone_path(self) -> str:
        """Where the model is that is edited; made now where it is a name or a GGUF file not yet seen.

        Raises TaskError where none is set, or none can be made.
        """
        path = self.settings.backbone.path
        if path is None:
            raise TaskError(
                f"no backbone is set. Prepare one with `melo backbone prepare --from FILE`, or set "
                f"backbone.path in {self.settings.paths.settings} to {', '.join(NAMED)}, a model's "
                "folder, a GGUF file or a hub id."
            )
        local = Path(path).expanduser()
        in_home = self.settings.home / local
        if path not in NAMED and not local.is_absolute() and in_home.exists():
            return locate_backbone(in_home)
        return locate_backbone(path)

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen model, opened once in a process. Raises TaskError, BackboneError."""
        torch.set_num_threads(min(self.settings.edit.threads, _threads_allowed()))
        located = {"path": self.backbone_path()}
        return _backbone(self.settings.backbone.model_copy(update=located))

    @cached_property
    def encoder(self) -> TokenEncoder:
        """What reads keys: as `edit.key_reader` says. Raises BackboneError where it is not there."""
        chosen = self.settings.edit.key_reader
        if chosen == "auto":
            return default_encoder(self.backbone)
        return encoder_named(chosen, self.backbone)

    @property
    def projection_file(self) -> Path:
        """Where the encoder's key projection is: the sentence encoder's in the user's cache, for all."""
        parts = (SCHEME, self.encoder.content_hash, corpus_hash(self.encoder), RECIPE)
        digest = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]
        shared = self.encoder.name == SentenceEncoder.name
        cache = user_cache() if shared else self.settings.paths.cache
        return cache / "projections" / f"{digest}.safetensors"

    @property
    def projection(self) -> KeyProjection:
        """The key projection of the encoder: from the cache, or learned now and kept there."""
        return _projection(self.projection_file, self.encoder)

    @property
    def calibration(self) -> Calibration:
        """The radii for `edit.false_activation_rate`: from the cache, or measured now, kept there."""
        share = self.settings.edit.false_activation_rate
        return _calibration(self.projection_file, self.encoder, share)

    @property
    def tagger(self) -> SubjectTagger:
        """What infers the subject of a question: from the cache, or learned now and kept there."""
        return _tagger(
            self.projection_file.with_suffix(f".tagger-{TAGGING}.safetensors"), self.encoder
        )

    @property
    def edit_settings(self) -> EditSettings:
        """The engine's settings, from the home's."""
        chosen = self.settings.edit
        return EditSettings(
            rank=chosen.rank,
            max_rank=chosen.max_rank,
            learning_rate=chosen.learning_rate,
            max_steps=chosen.max_steps,
            false_activations=chosen.false_activation_rate,
        )


@lru_cache(maxsize=2)
def _backbone(chosen: BackboneSettings) -> Backbone:
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    opened = Backbone.open(
        str(chosen.path),
        chosen.task,
        device=chosen.device,
        dtype=getattr(torch, chosen.dtype),
        prompts=PromptSettings(chosen.chat, chosen.system_prompt),
    )
    limit = chosen.max_prompt_tokens or opened.max_prompt_tokens
    opened.max_prompt_tokens = min(opened.max_prompt_tokens, limit)
    return opened


@lru_cache(maxsize=2)
def _projection(path: Path, encoder: TokenEncoder) -> KeyProjection:
    def learn() -> KeyProjection:
        return learn_projection(KeyReader(encoder), recipe=RECIPE, progress=progress.report)

    read, content = KeyProjection.from_bytes, KeyProjection.to_bytes
    return made_once(path, read, learn, content, damaged=(MeloError,))


@lru_cache(maxsize=4)
def _calibration(projection: Path, encoder: TokenEncoder, share: float) -> Calibration:
    def measure() -> Calibration:
        return calibrate(KeyReader(encoder, _projection(projection, encoder)), share)

    return made_once(
        projection.with_name(f"{projection.stem}-{share}-{CALIBRATING}.json"),
        lambda content: Calibration(**json.loads(content)),
        measure,
        lambda measured: json.dumps(measured.as_dict()).encode(),
        damaged=(ValueError, TypeError),
    )


@lru_cache(maxsize=2)
def _tagger(path: Path, encoder: TokenEncoder) -> SubjectTagger:
    def learn() -> SubjectTagger:
        return learn_tagger(encoder, progress=progress.report)

    read, content = SubjectTagger.from_bytes, SubjectTagger.to_bytes
    return made_once(path, read, learn, content, damaged=(MeloError,))


@lru_cache(maxsize=6)
def _version(folder: Path, shards: Path, backbone: Backbone) -> Version:
    return Version.load(folder, backbone, shards)


def _threads_allowed() -> int:
    return max(1, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
