"""A home that was moved, copied or restored: what MLflow keeps of its old place is put right.

    experiments, runs, logged models, model versions    where their artifacts lie, in MLflow's database
    artifacts/models/*/artifacts/MLmodel                backbone and store of shards of a logged model
    melo.toml                                           a path into the home that a person wrote there

MLflow keeps such places absolute, whatever it is given. Left as they are, a moved home would write to
where it was, and a copy into the home it was copied from. Everything else in a home is relative to it,
but for `run/place.json`, which says where it was when it was last opened.

Nothing is changed where the home is where it was, by whatever name. A database that homes share, on
PostgreSQL, is put right for a home that was moved; for one whose original is still there it is refused.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from artifacts.atomic import write_atomically
from config import Settings
from registry.errors import RegistryError

EXPERIMENTS = "experiments"
COLUMNS = (
    (EXPERIMENTS, "experiment_id", "artifact_location"),
    ("runs", "run_uuid", "artifact_uri"),
    ("logged_models", "model_id", "artifact_location"),
    ("model_versions", "name || '/' || version", "storage_location"),
    ("model_versions", "name || '/' || version", "source"),
)
WAIT = 30.0  # seconds for another process that writes to the database


@dataclass(frozen=True)
class Moved:
    """A home that is not where it was. before: its folder then."""

    before: Path
    now: Path

    def __str__(self) -> str:
        return f"this home was at {self.before}; what named that place names {self.now} now."

    def renamed(self, location: object) -> str | None:
        """A path or file URI within the old home as it is now; None for every other text."""
        if not isinstance(location, str) or (path := _path(location)) is None:
            return None
        if not path.is_relative_to(self.before):
            return None
        new = self.now / path.relative_to(self.before)
        return new.as_uri() if location.startswith("file:") else str(new)

    def only_before(self, location: str) -> bool:
        """Whether files are at the old place and not at the new one."""
        old, new = _path(location), _path(self.renamed(location) or "")
        return old is not None and old.exists() and new is not None and not new.exists()

    def replaced(self, value: Any) -> Any:
        """The same with every place renamed."""
        if isinstance(value, dict):
            return {key: self.replaced(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.replaced(item) for item in value]
        return self.renamed(value) or value


def moved(settings: Settings) -> Moved | None:
    """Where a home was before, if it is elsewhere now. Reads only; None where that isn't known."""
    if (move := _move_on_record(settings)) is not None:
        return move
    try:
        with _database(settings, write=False) as database:
            return _move_by_artifacts(settings, database)
    except (sqlite3.Error, OSError):
        return None


def put_right(settings: Settings) -> Moved | None:
    """Let everything in a home name the home where it is; None where it does already.

    Raises RegistryError where the database belongs to another home, or can't be written.
    """
    move = moved(settings)
    if move is None:
        if not _place_file(settings).exists():
            with contextlib.suppress(OSError):
                _record_place(settings)
        return None
    try:
        with _database(settings, write=True) as database:
            at: Moved | None = move
            while at is not None:
                _refuse_shared(settings, at)
                if database is not None:
                    _rename_in_models(settings, at)
                    _rename_in_rows(database, at)
                _rename_in_settings(settings, at)
                at = _move_by_artifacts(settings, database)
        _record_place(settings)
        return move
    except (sqlite3.Error, OSError) as error:
        raise RegistryError(
            f"this home was at {move.before}, and what names that place can't be put right: "
            f"{error}."
        ) from error


def _place_file(settings: Settings) -> Path:
    return settings.paths.state("place.json")


def _move_on_record(settings: Settings) -> Moved | None:
    try:
        before = Path(json.loads(_place_file(settings).read_text(encoding="utf-8"))["home"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _elsewhere(before, settings.home.absolute())


def _record_place(settings: Settings) -> None:
    write_atomically(_place_file(settings), json.dumps({"home": str(settings.home.absolute())}))


def _elsewhere(before: Path, now: Path) -> Moved | None:
    """Whether two paths are two folders: a link to a home, or a mount of it, is the home itself."""
    try:
        same = before == now or before.samefile(now)
    except OSError:
        same = False
    return None if same else Moved(before, now)


def _refuse_shared(settings: Settings, move: Moved) -> None:
    shared = settings.registry.tracking_uri is None and settings.database.url is not None
    if shared and (move.before / "melo.toml").exists():
        raise RegistryError(
            f"the database that database.url names keeps the versions of {move.before}, which is "
            f"still there. Give {move.now} a database of its own."
        )


@dataclass(frozen=True)
class _Database:
    """A DB-API connection, and how it marks a value."""

    connection: Any
    mark: str

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        cursor.execute(sql.replace("?", self.mark), values)
        return list(cursor.fetchall()) if cursor.description else []


@contextlib.contextmanager
def _database(settings: Settings, *, write: bool) -> Iterator[_Database | None]:
    """The home's MLflow database in one transaction; None where it has none of its own."""
    if settings.registry.tracking_uri is not None:
        yield None
        return
    if settings.database.url is not None:
        yield from _postgresql(settings)
        return
    file = settings.paths.mlflow_db
    if not file.is_file():
        yield None
        return
    uri = f"{file.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=WAIT)) as connection:
        if write:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
        yield _Database(connection, "?")
        if write:
            connection.execute("COMMIT")


def _postgresql(settings: Settings) -> Iterator[_Database | None]:
    import psycopg2

    try:
        connection = psycopg2.connect(settings.database.beside("mlflow"), connect_timeout=10)
    except psycopg2.Error:
        yield None  # whoever needs it says so
        return
    with contextlib.closing(connection), connection:
        yield _Database(connection, "%s")


def _move_by_artifacts(settings: Settings, database: _Database | None) -> Moved | None:
    """Where the home was by its experiments, the newest first: a home's artifacts lie inside it."""
    if database is None:
        return None
    try:
        rows = database.rows(
            "SELECT artifact_location FROM experiments ORDER BY experiment_id DESC"
        )
    except Exception:  # no such table: MLflow has not been here yet
        return None
    now = settings.home.absolute()
    for (location,) in rows:
        place = _path(location)
        if place is not None and place.name == "artifacts":
            move = _elsewhere(place.parent, now)
            if move is not None:
                return move
    return None


def _rename_in_rows(database: _Database, move: Moved) -> None:
    """Let every row name the new place, but those whose files lie at the old place only.

    An experiment names where artifacts will lie, also of a run that is yet to come.
    """
    for table, key, column in COLUMNS:
        for name, location in database.rows(f"SELECT {key}, {column} FROM {table}"):
            new = move.renamed(location)
            if new is not None and (table == EXPERIMENTS or not move.only_before(location)):
                database.rows(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", new, name)


def _rename_in_models(settings: Settings, move: Moved) -> None:
    """Let each logged model name backbone and shards where they are now."""
    import yaml

    for file in settings.paths.artifacts.glob("models/*/artifacts/MLmodel"):
        text = file.read_text(encoding="utf-8")
        if str(move.before) not in text and move.before.as_uri() not in text:
            continue
        content = move.replaced(yaml.safe_load(text))
        write_atomically(file, yaml.safe_dump(content, allow_unicode=True))


def _rename_in_settings(settings: Settings, move: Moved) -> None:
    """Let melo.toml name files of this home where it named those of the old one."""
    file = settings.paths.settings
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    new = text.replace(f"{move.before}/", f"{move.now}/")
    if new != text:
        write_atomically(file, new)


def _path(location: object) -> Path | None:
    """The absolute path that a location names on this machine, where it names one."""
    if not isinstance(location, str):
        return None
    path = unquote(urlsplit(location).path) if location.startswith("file:") else location
    return Path(path) if path.startswith("/") else None
