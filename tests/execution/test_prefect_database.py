"""The tables of Prefect's database are made once, and copied for every other home."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings, load
from execution import orchestrator, prefect_database
from execution.orchestrator import PrefectServer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("MELO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(cache: Path) -> Path:
    """Tables that another home has left there; of a small database."""
    path = prefect_database.template()
    path.parent.mkdir(parents=True)
    make_database(path, "newest")
    return path


def make_database(path: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
        made.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        made.commit()


def rows(path: Path) -> dict[str, int]:
    """How many rows each table has that has any."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        tables = opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        counts = {
            name: opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables
        }
    return {name: number for name, number in counts.items() if number}


@contextlib.contextmanager
def server(home: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectServer]:
    """The server of a run in a home, up."""
    with monkeypatch.context() as patched:
        for name in ("PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
            patched.setenv(name, "")  # so that what `use` sets is taken back
        orchestrator.use(home)
        started = PrefectServer(home)
        started.begin()
        try:
            started.wait()
            yield started
        finally:
            started.end()


@pytest.mark.slow
def test_the_second_home_takes_the_tables_that_the_first_one_made_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        home = load(tmp_path / name)
        with server(home, monkeypatch) as started:
            body = json.dumps({"name": f"of {name}"}).encode()
            request = urllib.request.Request(
                f"{started.url}/flows/", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 201
        assert rows(prefect_database.template()) == {"alembic_version": 1}
        assert rows(home.paths.prefect / prefect_database.NAME)["flow"] == 1
        assert prefect_database.provide(home.paths.prefect)


def test_a_database_that_is_there_is_left_as_it_is(kept: Path, tmp_path: Path) -> None:
    make_database(tmp_path / prefect_database.NAME, "older")
    assert not prefect_database.provide(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / prefect_database.NAME)) as opened:
        assert opened.execute("SELECT version_num FROM alembic_version").fetchall() == [("older",)]


def test_what_is_missing_or_damaged_is_not_copied(kept: Path, tmp_path: Path) -> None:
    kept.write_bytes(b"no database" * 100)
    assert not prefect_database.provide(tmp_path)
    shutil.rmtree(kept.parent)
    assert not prefect_database.provide(tmp_path)
    assert not (tmp_path / prefect_database.NAME).exists()


def test_a_copy_is_whole_and_leaves_nothing_beside_it(kept: Path, tmp_path: Path) -> None:
    home = tmp_path / "a home? of #1"
    home.mkdir()
    assert prefect_database.provide(home)
    assert [path.name for path in home.iterdir()] == [prefect_database.NAME]
    assert rows(home / prefect_database.NAME) == rows(kept) == {"alembic_version": 1}
