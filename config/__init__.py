"""What can be set: `load(home)` reads `melo.toml` and `MELO_*` into typed settings."""

from config.errors import ConfigError
from config.settings import (
    AlertSettings,
    BackboneSettings,
    ContradictionSettings,
    EditSettings,
    GateSettings,
    IngestSettings,
    LedgerSettings,
    LocalityShape,
    Paths,
    PlanSettings,
    PrefectSettings,
    PresetSettings,
    RegistrySettings,
    Settings,
    SourceSettings,
    default_home,
    load,
)

__all__ = [
    "AlertSettings", "BackboneSettings", "ConfigError", "ContradictionSettings", "EditSettings",
    "GateSettings", "IngestSettings", "LedgerSettings", "LocalityShape", "Paths", "PlanSettings",
    "PrefectSettings", "PresetSettings", "RegistrySettings", "Settings", "SourceSettings",
    "default_home", "load",
]  # fmt: skip
