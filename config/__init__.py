"""What can be set: `load(home)` reads `melo.toml` and `MELO_*` into typed settings."""

from config.errors import ConfigError
from config.paths import Paths
from config.sections import (
    AlertSettings,
    BackboneSettings,
    ContradictionSettings,
    DatabaseSettings,
    EditingSettings,
    GateSettings,
    IngestSettings,
    LedgerSettings,
    LocalityShape,
    PlanSettings,
    PresetSettings,
    RegistrySettings,
    SourceSettings,
    WorkerSettings,
)
from config.settings import Settings, default_home, load, user_cache

__all__ = [
    "AlertSettings",
    "BackboneSettings",
    "ConfigError",
    "ContradictionSettings",
    "DatabaseSettings",
    "EditingSettings",
    "GateSettings",
    "IngestSettings",
    "LedgerSettings",
    "LocalityShape",
    "Paths",
    "PlanSettings",
    "PresetSettings",
    "RegistrySettings",
    "Settings",
    "SourceSettings",
    "WorkerSettings",
    "default_home",
    "load",
    "user_cache",
]
