"""A home that is moved, copied or restored works where it is, and never writes to where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from config import Settings, load
from deployment.provisioning import _cancel_of_other_homes
from deployment.services import Services
from ledger import Ledger
from registry.errors import RegistryError
from registry.relocation import moved, put_right
from tests.conftest import Melo, report
from tests.pipeline import promoted, take

IN = Callable[[Path], Melo]


def one_more(place: Path, number: int) -> str:
    """Edit, gate, register and promote one more report in a home; the new champion."""
    put_right(load(place))
    settings = load(place)
    with Ledger.open(settings.paths.ledger) as ledger:
        take(settings, ledger, report(number))
        return promoted(settings, ledger)


def files(folder: Path) -> dict[str, str]:
    """Every file of a home with its content's hash, but what a reader may touch."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", ".turn"))
    }


def locations(settings: Settings) -> list[str]:
    """Everything that MLflow's database says of where things are."""
    with sqlite3.connect(settings.paths.mlflow_db) as store:
        rows: list[tuple[str]] = []
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "storage_location"),
        ):
            rows += store.execute(
                f"SELECT {column} FROM {table} WHERE {column} LIKE '%artifacts%'"
            ).fetchall()
    return [row[0] for row in rows]


@pytest.fixture(scope="module")
def with_a_version(
    tmp_path_factory: pytest.TempPathFactory, tiny_backbone_path: Path, projections: Path
) -> Path:
    """A home with one version. Nobody may write to it; its settings name files of its own."""
    from tests.conftest import make_home

    settings = make_home(tmp_path_factory.mktemp("first") / "home", tiny_backbone_path)
    shutil.copytree(projections, settings.paths.cache / "projections")
    one_more(settings.home, 0)
    return settings.home


def copied(home: Path, place: Path) -> Path:
    """A copy of it that was never opened where it stands, nor says where it was."""
    shutil.copytree(home, place, symlinks=True)
    shutil.rmtree(place / "run", ignore_errors=True)
    return place


@pytest.fixture
def old(with_a_version: Path, tmp_path: Path, melo_in: IN) -> Path:
    """A home with one version that has been opened where it is, to be moved away."""
    place = copied(with_a_version, tmp_path / "old")
    code, _, err = melo_in(place)("versions", "list")
    assert (code, "this home was at" in err) == (0, True)
    return place


def test_a_moved_home_writes_to_itself_and_says_so_once(
    old: Path, tmp_path: Path, melo_in: IN
) -> None:
    new = tmp_path / "elsewhere" / "new"
    new.parent.mkdir()
    old.rename(new)
    code, _, err = melo_in(new)("versions", "list")
    assert (code, err) == (
        0,
        f"melo: this home was at {old}; what named that place names {new} now.\n",
    )
    assert melo_in(new)("versions", "list")[2] == ""
    version = one_more(new, 1)
    assert not old.exists()
    assert all(place.startswith((new / "artifacts").as_uri()) for place in locations(load(new)))
    assert load(new).gate.thresholds == str(new / "thresholds.yaml")
    with Ledger.open(new / "ledger.duckdb") as ledger:
        assert "this home was" in ledger.events.latest(kind="home-moved")[0].message
        assert ledger.champions.current().version == version  # type: ignore[union-attr]


def test_where_the_old_place_can_not_be_written_the_home_still_promotes(
    old: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    old.rename(new)
    old.touch()  # a file in its place
    first = one_more(new, 1)
    assert one_more(new, 2) != first
    assert old.read_bytes() == b""


def test_a_copied_home_writes_into_its_own_and_so_does_the_original(
    old: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(old, copy)
    before = files(old)
    one_more(copy, 1)
    assert files(old) == before
    after = files(copy)
    one_more(old, 2)
    assert files(copy) == after
    assert moved(load(old)) is None
    assert moved(load(copy)) is None


def test_a_backup_restored_at_another_place_goes_on(old: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "backup"), "tar", old)
    one_more(old, 1)
    shutil.rmtree(old)
    new = tmp_path / "restored"
    shutil.unpack_archive(archive, new)
    assert one_more(new, 2)
    assert not old.exists()


def test_a_version_of_a_moved_home_loads_from_mlflow(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(old / ".", new)
    settings = load(new)
    assert put_right(settings) is not None
    [file] = settings.paths.artifacts.glob("models/*/artifacts/MLmodel")
    told = yaml.safe_load(file.read_text())
    assert told["flavors"]["python_function"]["config"]["shards"] == str(new / "versions/shards")
    shutil.rmtree(old)
    script = (
        "import sys, mlflow; mlflow.set_tracking_uri(sys.argv[1])\n"
        "[model] = mlflow.MlflowClient().search_registered_models()\n"
        "found = mlflow.pyfunc.load_model(f'models:/{model.name}/1').predict(['who leads velandor ?'])\n"
        "print(found['answer'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, settings.tracking_uri],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert done.stdout.strip() == "ada"


def test_doctor_sees_a_moved_home_and_changes_nothing(
    old: Path, tmp_path: Path, melo_in: IN
) -> None:
    new = tmp_path / "new"
    old.rename(new)
    before = files(new)
    code, out, _ = melo_in(new)("doctor", "--json")
    [place] = [finding for finding in json.loads(out) if finding["what"] == "place"]
    assert (code, place["well"]) == (1, False)
    assert str(old) in place["found"]
    assert files(new) == before
    melo_in(new)("versions", "list")
    assert [
        f["well"] for f in json.loads(melo_in(new)("doctor", "--json")[1]) if f["what"] == "place"
    ] == [True]


@pytest.mark.parametrize("way", ["link", "dots", "relative"])
def test_another_name_of_the_same_folder_is_no_move(
    old: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(old)
    names = {"link": link, "dots": old / ".." / "old", "relative": Path("old")}
    before = files(old)
    assert put_right(load(names[way])) is None
    assert files(old) == before


def test_a_home_from_before_places_were_noted_is_known_by_its_database(
    with_a_version: Path, tmp_path: Path
) -> None:
    settings = load(copied(with_a_version, tmp_path / "new"))
    found = moved(settings)
    assert found is not None
    assert found.before == with_a_version
    put_right(settings)
    assert all(place.startswith(settings.paths.artifacts.as_uri()) for place in locations(settings))


def test_a_home_that_was_moved_twice_by_an_older_release_is_put_right_whole(
    with_a_version: Path, tmp_path: Path
) -> None:
    settings = load(copied(with_a_version, tmp_path / "new"))
    with sqlite3.connect(settings.paths.mlflow_db) as store:
        store.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) "
            "VALUES ('other', 'file:///somewhere/else/artifacts', 'active')"
        )
    put_right(settings)
    assert moved(settings) is None
    assert all(place.startswith(settings.paths.artifacts.as_uri()) for place in locations(settings))


def test_a_database_that_can_not_be_put_right_is_one_line(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    old.rename(new)
    (new / "mlflow.db").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(RegistryError, match=r"this home was at .*can't be put right"):
        put_right(load(new))


def test_a_copied_home_never_ends_what_the_original_runs(old: Path, tmp_path: Path) -> None:
    original = Services(load(old), prefect_port=1, mlflow_port=1, serve_port=1, dashboard_port=0)
    (old / "run").mkdir(exist_ok=True)
    original._commands = lambda: {"inbox": ["sleep", "600"]}  # type: ignore[method-assign]
    service = original.start("inbox")
    try:
        copy = tmp_path / "copy"
        shutil.copytree(old, copy)
        assert Services(load(copy)).recorded() == []
        assert Services(load(copy)).down(lambda said: None) == 0
        assert psutil.pid_exists(service.pid)
        new = tmp_path / "new"
        old.rename(new)  # a home that is moved while it runs still knows its own
        assert Services(load(new)).down(lambda said: None) == 1
    finally:
        service.kill()


def test_runs_that_are_due_for_another_home_are_cancelled(
    old: Path, prefect_server: None, tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_API_URL

    with httpx.Client(base_url=PREFECT_API_URL.value(), timeout=60, trust_env=False) as client:
        flow = client.post("/flows/", json={"name": "for-a-home"}).json()["id"]
        due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2020-01-01T00:00:00Z"}}
        runs = {
            place: client.post(
                "/flow_runs/",
                json={"flow_id": flow, "state": due, "parameters": {"home": str(place)}},
            ).json()["id"]
            for place in (old, tmp_path / "before")
        }
        _cancel_of_other_homes(client, load(old))
        states = {
            p: client.get(f"/flow_runs/{run}").json()["state_type"] for p, run in runs.items()
        }
    assert states == {old: "SCHEDULED", tmp_path / "before": "CANCELLED"}
