"""What can be set: `load(home)` reads `melo.toml` and `MELO_*` into typed settings."""

from config.errors import ConfigError
from config.paths import Paths
from config.sections import (
    BackboneSettings,
    IngestSettings,
    PresetSettings,
    SourceSettings,
    WorkerSettings,
)
from config.settings import Settings, default_home, load, user_cache

__all__ = [
    "BackboneSettings",
    "ConfigError",
    "IngestSettings",
    "Paths",
    "PresetSettings",
    "Settings",
    "SourceSettings",
    "WorkerSettings",
    "default_home",
    "load",
    "user_cache",
]
