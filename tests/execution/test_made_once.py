"""What takes long to make is made by one of the processes that want it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from execution.made_once import made_once

ROOT = Path(__file__).parents[2]
WANTED = """
import sys
from pathlib import Path
from execution.made_once import made_once

def make():
    print("making", flush=True)
    sys.stdin.readline()
    return "whole"

made_once(Path(sys.argv[1]), bytes.decode, make, str.encode)
"""


def start(path: Path) -> subprocess.Popen[str]:
    """A process that wants the file; it makes it once it is given a line."""
    return subprocess.Popen(
        [sys.executable, "-c", WANTED, str(path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_of_two_processes_one_makes_it_and_the_other_waits_and_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "file"
    first = start(path)
    assert first.stdout is not None
    assert first.stdout.readline() == "making\n"
    second = start(path)
    assert first.communicate("\n") == ("", None)
    assert second.communicate("\n") == ("", None)
    assert (first.returncode, second.returncode) == (0, 0)
    assert path.read_text() == "whole"


def test_another_makes_it_where_the_first_one_is_killed(tmp_path: Path) -> None:
    first = start(tmp_path / "file")
    assert first.stdout is not None
    assert first.stdout.readline() == "making\n"
    first.kill()
    first.communicate()
    assert made_once(tmp_path / "file", bytes.decode, lambda: "whole", str.encode) == "whole"


def test_what_is_damaged_is_made_again_and_what_is_whole_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"not a number")
    wanted = (path, int, lambda: 7, lambda number: str(number).encode())
    assert made_once(*wanted, damaged=(ValueError,)) == 7
    path.write_bytes(b"8")
    assert made_once(*wanted, damaged=(ValueError,)) == 8
