from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts import atomic

DIES = """
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("atomic", sys.argv[1])
atomic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(atomic)
folder, where = Path(sys.argv[2]), sys.argv[3]
partial = atomic.partial_folder(folder)
partial.mkdir()
(partial / "file").write_text("after")
moved = os.replace
def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "written":
    dies()
if where == "in place":
    atomic.shutil.rmtree = lambda *_, **__: (folder / "file").read_text() == "after" and dies()
if where == "moved aside":
    atomic._exchanged = lambda *_: False
    os.replace = lambda *paths: (moved(*paths), dies())
atomic.replace_folder(partial, folder)
"""


def content(parent: Path) -> dict[str, str]:
    """What lies in a folder, by path."""
    return {str(p.relative_to(parent)): p.read_text() for p in parent.rglob("*") if p.is_file()}


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    atomic.write_atomically(path, "é")
    atomic.write_durably(path, b"second", mode=0o600)
    assert content(tmp_path) == {"new/file.json": "second"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_can_not_be_written_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(OSError, match="taken"):
        atomic.write_atomically(path, "text")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("where", "there"),
    [("written", "before"), ("in place", "after"), ("moved aside", "before")],
)
def test_a_writer_killed_anywhere_leaves_the_old_folder_or_the_new_one(
    tmp_path: Path, where: str, there: str
) -> None:
    folder = tmp_path / "abc"
    folder.mkdir()
    (folder / "file").write_text("before")
    command = [sys.executable, "-c", DIES, str(atomic.__file__), str(folder), where]
    killed = subprocess.run(command, check=False)
    assert killed.returncode == -9
    assert atomic.remove_abandoned(tmp_path) >= 1
    assert content(tmp_path) == {"abc/file": there}
    assert atomic.remove_abandoned(tmp_path) == 0


def test_a_folder_changes_places_without_a_moment_in_between(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / path.name).touch()
    if not atomic._exchanged(one, other):
        pytest.skip("this file system can't exchange")
    assert (one / "other").exists()
    assert (other / "one").exists()


def test_what_a_writer_on_another_host_has_is_left_to_it_for_a_day(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    theirs = tmp_path / f".abc.not-{socket.gethostname()}.{dead.pid}.partial"
    theirs.mkdir()
    assert atomic.remove_abandoned(tmp_path) == 0
    assert theirs.is_dir()
    assert atomic.remove_abandoned(tmp_path, left_for=-1) == 1
    assert not theirs.exists()


def test_a_file_that_a_dead_writer_left_goes_too(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".abc.{socket.gethostname()}.{dead.pid}.partial"
    left.write_text("half of it")
    assert atomic.remove_abandoned(tmp_path) == 1
    assert not left.exists()
