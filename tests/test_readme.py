"""Every command of the README is run, as it stands there, on a small home."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from execution.context import open_ledger
from tests.conftest import PEOPLE, SUBJECTS, Melo, report, write_lines
from tests.pipeline import promoted, take

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
JSON_LINES = re.search(r"```json\n(.*?)```", README, re.DOTALL)


def words(command: str) -> list[str]:
    """A command's arguments, without the program."""
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/melo"
    return arguments


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", README, re.MULTILINE))
def test_the_make_targets_are_there(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.usefixtures("prefect_server")
def test_the_commands_run_as_they_stand(
    home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    melo_in: Callable[[Path], Melo],
) -> None:
    from cli.main import run

    with open_ledger(home) as ledger:
        for number in range(2):
            take(home, ledger, report(number))
            promoted(home, ledger)
        edit = ledger.edits.active()[0].id
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MELO_HOME", str(home.home))
    write_lines(tmp_path / "reports.jsonl", [report(3)])
    assert len(COMMANDS) >= 14
    for command in COMMANDS:
        arguments = [edit if word == "EDIT" else word for word in words(command)]
        with pytest.raises(SystemExit) as stop:
            run(arguments)
        said = capsys.readouterr()
        assert (stop.value.code or 0) == 0, f"{command}: {said.err}"
        if "init" in arguments:  # the README goes on to name the model there
            settings = (home.home / "melo.toml").read_text(encoding="utf-8")
            (tmp_path / "my-home" / "melo.toml").write_text(settings, encoding="utf-8")
    assert melo_in(tmp_path / "my-home").json("status")["counts"] == {"active": 1}


def test_the_example_lines_are_accepted(tmp_path: Path, melo_in: Callable[[Path], Melo]) -> None:
    assert JSON_LINES is not None
    path = tmp_path / "example.jsonl"
    path.write_text(JSON_LINES.group(1), encoding="utf-8")
    taken = melo_in(tmp_path / "home").json("ingest", str(path))
    assert (taken["accepted"], taken["quarantined"]) == (2, 0)


def test_the_editor_alone_runs_as_it_stands(
    tiny_backbone_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    words_it_knows = {"path/to/model": str(tiny_backbone_path), "Ada Li": PEOPLE[0]}
    for word, known in {
        **words_it_knows,
        '"Acme"': f'"{SUBJECTS[0]}"',
        "Acme?": f"{SUBJECTS[0]} ?",
    }.items():
        code = code.replace(word, known)
    exec(code, names)
    assert (tmp_path / "acme-1" / "manifest.json").is_file()
