"""The settings of a home, from its file and the environment.

    MELO_PLAN__MAX_EDITS_PER_JOB=20   environment, strongest
    HOME/melo.toml  [plan] ...        the home's file
    config/sections.py                the defaults, weakest

`load(home)` is the only way in; a value that does not fit is one clear line.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config.errors import ConfigError
from config.paths import Paths
from config.sections import (
    AlertSettings,
    BackboneSettings,
    ContradictionSettings,
    DashboardSettings,
    DatabaseSettings,
    EditingSettings,
    GateSettings,
    IngestSettings,
    LedgerSettings,
    PlanSettings,
    PresetSettings,
    RegistrySettings,
    ServeSettings,
    SourceSettings,
    UpSettings,
    WorkerSettings,
    WriteBackSettings,
)
from text import read_text

SECRET = {"alerts", "database", "write_back"}  # sections that are never shown, not even in an error


class Settings(BaseSettings):
    """All settings of one home."""

    model_config = SettingsConfigDict(
        env_prefix="MELO_",
        env_nested_delimiter="__",
        extra="forbid",
        env_ignore_empty=True,
    )

    home: Path = Path(".melo")
    backbone: BackboneSettings = BackboneSettings()
    edit: EditingSettings = EditingSettings()
    plan: PlanSettings = PlanSettings()
    ingest: IngestSettings = IngestSettings()
    contradictions: ContradictionSettings = ContradictionSettings()
    default_source: SourceSettings = SourceSettings()
    sources: dict[str, SourceSettings] = {}
    presets: dict[str, PresetSettings] = {}
    relations: dict[str, list[str]] = Field(
        default={}, description="wordings for a relation, with {subject}; the first is trained"
    )
    gate: GateSettings = GateSettings()
    registry: RegistrySettings = RegistrySettings()
    serve: ServeSettings = ServeSettings()
    ledger: LedgerSettings = LedgerSettings()
    alerts: AlertSettings = AlertSettings()
    write_back: WriteBackSettings = WriteBackSettings()
    database: DatabaseSettings = DatabaseSettings()
    workers: WorkerSettings = WorkerSettings()
    dashboard: DashboardSettings = DashboardSettings()
    up: UpSettings = UpSettings()

    @property
    def dashboard_url(self) -> str:
        """Where the dashboards are, for links to them."""
        return (self.dashboard.url or f"http://127.0.0.1:{self.dashboard.port}").rstrip("/")

    @property
    def paths(self) -> Paths:
        """Where things are."""
        ledger = Path(self.ledger.url) if self.ledger.url else self.home / "ledger.duckdb"
        return Paths(self.home, ledger)

    @property
    def store_uri(self) -> str:
        """The database behind MLflow: PostgreSQL where one is set, else SQLite in the home."""
        stored = self.database.beside("mlflow", "postgresql+psycopg2")
        return stored or f"sqlite:///{self.paths.mlflow_db}"

    @property
    def tracking_uri(self) -> str:
        """Where versions are logged: an MLflow server where one is named, else its database."""
        return self.registry.tracking_uri or self.store_uri

    @property
    def prefect_database(self) -> str | None:
        """The database of the Prefect server; None for SQLite in the home."""
        return self.database.beside("prefect", "postgresql+asyncpg")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats the file, which is handed in as init values."""
        return env_settings, init_settings


def default_home() -> Path:
    """`MELO_HOME`, or `.melo` here."""
    return Path(os.environ.get("MELO_HOME") or ".melo")


def user_cache() -> Path:
    """What all homes of a user share: `MELO_CACHE`, or `melo` in the user's own cache folder."""
    folder = os.environ.get("MELO_CACHE")
    if folder:
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "melo"


def load(home: Path | str | None = None) -> Settings:
    """The settings of a home; a home without melo.toml has the defaults.

    Raises ConfigError, naming the setting and what is allowed.
    """
    where = (Path(home) if home is not None else default_home()).absolute()
    _refuse_question_mark(where, "the home")
    file = where / "melo.toml"
    values: dict[str, Any] = {}
    if file.exists():
        try:
            values = tomllib.loads(read_text(file))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{file} can't be read: {error}.") from None
    values.pop("home", None)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        secret = first["loc"][:1] and first["loc"][0] in SECRET
        got = "a value that is kept secret" if secret else repr(first.get("input"))
        raise ConfigError(f"setting {name}: {first['msg']} (got {got}).") from None
    except SettingsError as error:
        raise ConfigError(
            f"the environment: {error}. MELO_ and a section's name, like MELO_PLAN, take JSON; one "
            "setting of it is MELO_PLAN__MAX_EDITS_PER_JOB=20."
        ) from None
    _refuse_question_mark(settings.paths.ledger, "ledger.url")
    return settings.model_copy(update={"home": where})


def _refuse_question_mark(path: Path, what: str) -> None:
    """DuckDB, MLflow and Prefect take it for the beginning of a query, and write beside the place."""
    if "?" in str(path):
        raise ConfigError(
            f"{what} is {path}: a question mark in a path is more than DuckDB can take, which would "
            "write beside it. Choose a path without one."
        )
