"""Terminals of every encoding: what they can't show is escaped, and JSON says the same in all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import Settings
from ledger import Ledger
from tests.conftest import report, write_lines
from tests.pipeline import take

MELO = [sys.executable, "-m", "cli.main"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
SAID = "149 €, Öl, 北京, Привет, 🙂"
ENCODINGS = ["ascii", "latin-1", "cp1252", "koi8-r", "shift_jis", "cp437", "utf-8", "utf-16"]


@pytest.fixture
def spoken(home: Settings) -> Settings:
    """A home with an edit in many scripts, and a line that is quarantined."""
    with Ledger.open(home.paths.ledger) as ledger:
        take(home, ledger, report(0, target=SAID), {"prompt": ""})
    return home


def melo(home: Settings, encoding: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*MELO, "--home", str(home.home), *arguments],
        capture_output=True,
        check=False,
        env={**CLEAN, "PYTHONIOENCODING": encoding},
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_terminal_can_not_show_is_escaped(spoken: Settings, encoding: str) -> None:
    done = melo(spoken, encoding, "edits", "list")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)  # nothing but what the encoding has
    missing = [c for c in SAID if _lacks(encoding, c)]
    assert all(c not in shown for c in missing)
    assert "149" in shown
    assert ("\\u20ac" in shown) == _lacks(encoding, "€")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_says_the_same_on_every_terminal(spoken: Settings, encoding: str) -> None:
    done = melo(spoken, encoding, "edits", "list", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [edit["target"] for edit in json.loads(done.stdout.decode(encoding))] == [SAID]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_errors_and_progress_are_escaped_too(
    spoken: Settings, tmp_path: Path, encoding: str
) -> None:
    done = melo(spoken, encoding, "ingest", str(tmp_path / "北京.jsonl"))
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"\\u5317" in done.stderr
    path = write_lines(tmp_path / "Öl-€.jsonl", [report(1, target="€")])
    done = melo(spoken, encoding, "ingest", str(path))
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode(encoding)


def test_a_bare_c_locale_without_utf8_mode_shows_what_it_can(spoken: Settings) -> None:
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*MELO, "--home", str(spoken.home), "edits", "list"],
        capture_output=True,
        check=False,
        env={**CLEAN, **bare},
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\\u20ac" in done.stdout.decode("ascii")


def _lacks(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return True
    return False
