"""A disk that is read-only, full, or not ours: one line and exit code 2; what only looks still works."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from console.errors import known_error, unwritable
from ledger import Ledger
from tests.conftest import report, write_lines
from tests.pipeline import take

MELO = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).parents[2]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}


def mount(*arguments: str) -> bool:
    try:
        return (
            subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; left out where one can't be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)):
        pytest.skip("no file system can be mounted here (it takes root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def small_home(home: Settings, disk: Path) -> Path:
    """A home with a report, on that disk."""
    with Ledger.open(home.paths.ledger, read_copy=home.paths.read_ledger) as ledger:
        take(home, ledger, report(0))
    return Path(shutil.copytree(home.home, disk / "home"))


def melo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MELO, "--home", str(home), *arguments],
        env=CLEAN,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )


def remounted(place: Path, how: str) -> None:
    assert mount("-o", f"remount,{how}", str(place))


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said; it must be one line, and exit code 2."""
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("melo: ")
    return done.stderr


def test_a_read_only_home_is_shown_and_nothing_else_is_more_than_a_line(
    small_home: Path, disk: Path, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(1)])
    remounted(disk, "ro")
    status = melo(small_home, "status", "--json")
    assert (status.returncode, status.stderr) == (0, "")
    assert json.loads(status.stdout)["lines"] == 1
    shown = melo(small_home, "report")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Waiting: 1" in shown.stdout
    doctor = melo(small_home, "doctor", "--json")
    assert (doctor.returncode, doctor.stderr) == (1, "")
    unwell = [f["what"] for f in json.loads(doctor.stdout) if not f["well"]]
    assert "disk" in unwell
    for command in (["ingest", str(path)], ["init"], ["run", str(path)], ["keys", "add", "desk"]):
        assert "Read-only file system" in one_line(melo(small_home, *command))


def test_a_read_only_home_is_shown_without_its_locks_and_its_copy(
    small_home: Path, disk: Path
) -> None:
    for path in (*small_home.glob("ledger.duckdb.*"), small_home / "read" / "ledger.duckdb"):
        path.unlink()
    remounted(disk, "ro")
    assert json.loads(melo(small_home, "status", "--json").stdout)["lines"] == 1
    assert "Waiting: 1" in melo(small_home, "report").stdout


def test_a_full_disk_is_one_line_and_once_there_is_room_it_goes_on(
    small_home: Path, disk: Path, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(1)])
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**12))
    for command in (["ingest", str(path)], ["run", str(path)]):
        assert "No space left on device" in one_line(melo(small_home, *command))
    assert melo(small_home, "status").returncode == 0
    assert melo(small_home, "report").returncode == 0
    filler.unlink()
    assert melo(small_home, "ingest", str(path)).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["--help"]])
def test_an_output_that_can_not_be_written_is_one_line(home: Settings, command: list[str]) -> None:
    Ledger.open(home.paths.ledger).close()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MELO, "--home", str(home.home), *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=CLEAN,
            cwd=ROOT,
        )
    assert "No space left on device" in one_line(done)


def test_a_reader_that_goes_away_is_no_error(home: Settings) -> None:
    Ledger.open(home.paths.ledger).close()
    line = " ".join([*MELO, "--home", str(home.home), "status"])
    done = subprocess.run(
        ["sh", "-c", f"{line} | true"],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN,
        cwd=ROOT,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "Read-only file system"),
        (errno.ENOSPC, "No space left on device"),
        (errno.EDQUOT, "Disk quota exceeded"),
        (errno.ENOTDIR, "Not a directory"),
        (errno.ENAMETOOLONG, "File name too long"),
        (errno.EIO, "Input/output error"),
        (errno.EMFILE, "Too many open files"),
        (errno.EEXIST, "File exists"),
    ],
)
def test_every_error_of_the_machine_is_one_line_with_its_file(number: int, said: str) -> None:
    line = known_error(OSError(number, os.strerror(number), "/data/x"))
    assert line is not None
    assert line.startswith(f"/data/x: {said}.")
    assert "\n" not in line


def test_a_bug_stays_a_bug(tmp_path: Path) -> None:
    assert known_error(KeyError("x"), tmp_path) is None
    assert known_error(OSError("no number"), tmp_path) is None
    assert unwritable(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/home", "home/../file/x/y"])
def test_a_home_where_no_folder_can_be_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home").mkdir()
    assert "Not a directory" in one_line(melo(tmp_path / place, "init"))
