"""The engine as the product opens it: encoder, key projection and calibration by the product's calls."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from config import Settings
from execution.lineage import BASE
from execution.versions import Versions
from melo_engine import Backbone, Calibration, Editor, EditSettings
from melo_engine.keys import KeyReader
from melo_engine.matching.inference import SubjectTagger


@dataclass(frozen=True)
class Keys:
    """What keys are made with, as a home with default settings has it."""

    reader: KeyReader
    calibration: Calibration
    tagger: Callable[[], SubjectTagger]


def product_keys(backbone: Backbone, cache: Path) -> Keys:
    """The projection and the calibration that `melo run` takes for this backbone, kept in `cache`."""
    versions = Versions(Settings(home=cache), backbone)
    reader = KeyReader(versions.encoder, versions.projection)
    return Keys(reader, versions.calibration, lambda: versions.tagger)


def product_settings(seed: int) -> EditSettings:
    """How `melo run` trains, from this seed."""
    return replace(Versions(Settings()).edit_settings, seed=seed)


def product_editor(backbone: Backbone, cache: Path) -> Editor:
    """An editor without an edit, as `melo run` begins with."""
    return Versions(Settings(home=cache), backbone).editor(BASE)


def ran_on(backbone: Backbone) -> dict[str, Any]:
    """What a record says of the model and of the machine that it ran on."""
    return {
        "backbone": backbone.name,
        "device": backbone.device.type,
        "threads": torch.get_num_threads(),
        "machine": platform.platform(),
    }
