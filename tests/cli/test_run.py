"""`melo run` in a process of its own, with its own ephemeral Prefect server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from config import Settings
from tests.conftest import report, write_lines

MELO = [sys.executable, "-m", "cli.main"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}


def melo(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would."""
    return subprocess.run(
        [*MELO, "--home", str(home.home), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
def test_a_run_takes_in_edits_and_serves(home: Settings, tmp_path: Path) -> None:
    rows = [report(0), report(1), {"prompt": ""}, report(0), {"prompt": "who leads it ?"}]
    path = write_lines(tmp_path / "in.jsonl", rows)
    done = melo(home, "run", str(path), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["counts"] == {"active": 2, "duplicate": 1, "held": 1, "quarantined": 1}
    assert result["held"] == {"answer": 1}
    assert result["verdicts"][0]["passed"] is True
    assert result["champion"] == result["verdicts"][0]["version"]
    undecided = [report(2, "mia", source="a"), report(2, "eva", source="b"), {"prompt": "why ?"}]
    again = melo(home, "run", str(write_lines(tmp_path / "more.jsonl", undecided)))
    assert again.returncode == 0, again.stderr
    assert "Held of what this run took up: 3 (2 for contradiction, 1 for answer)." in again.stdout
    assert "melo review list" in again.stdout
    assert "Nothing waits" not in again.stdout
    told = (again.stderr + done.stderr).splitlines()  # how far it is, where there is no terminal
    assert all(re.match(r" *\d+ s  ", line) for line in told), told


def test_a_run_that_is_killed_leaves_no_server_behind(home: Settings) -> None:
    run = subprocess.Popen(
        [*MELO, "--home", str(home.home), "run"], env=CLEAN, cwd=Path(__file__).parents[2]
    )
    note = home.home / "run" / "ephemeral.json"
    deadline = time.monotonic() + 300
    while not note.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    server = psutil.Process(json.loads(note.read_text())["pid"])
    assert server.is_running()
    run.kill()
    run.wait()
    _, left = psutil.wait_procs([server], timeout=60)
    assert not left


@pytest.mark.parametrize("what", ["not there", "no weights", "no config", "not set"])
def test_a_wrong_path_or_backbone_is_one_line_and_nothing_is_begun(
    home: Settings, tmp_path: Path, what: str
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    settings = home.home / "melo.toml"
    folder = tmp_path / "model"
    folder.mkdir()
    if what == "no weights":
        (folder / "config.json").write_text('{"model_type": "t5"}')
    if what == "not set":
        settings.write_text("")
    elif what != "not there":
        settings.write_text(f'[backbone]\npath = "{folder}"\n')
    given = tmp_path / "missing.jsonl" if what == "not there" else path
    done = melo(home, "run", str(given))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("melo: ")
    assert not (home.home / "ledger.duckdb").exists()
