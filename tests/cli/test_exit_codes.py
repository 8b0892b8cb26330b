"""Exit codes that a scheduler can trust: 0 only where all that waited is decided and serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.home.run import unfinished
from config import Settings, load
from execution.context import Context
from execution.versions import Versions
from ledger import Ledger
from tasks.errors import NotPromotable
from tasks.rollback import roll_back
from tests.conftest import report, write_lines
from tests.pipeline import promoted, take

MELO = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).parents[2]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}


def melo(home: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MELO, "--home", str(home.home), *arguments],
        env={**CLEAN, **more},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
def test_a_version_that_can_not_be_registered_is_no_success_and_is_told_once_it_serves(
    home: Settings, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    home.paths.artifacts.write_text("no folder")  # where artifacts are to go
    done = melo(home, "run", str(path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "edits still wait to serve (1 trained)" in done.stderr
    assert "champion none" in done.stdout
    home.paths.artifacts.unlink()
    again = melo(home, "run", "--json")
    assert (again.returncode, again.stderr) == (0, "")
    told = json.loads(again.stdout)
    assert told["counts"] == {"active": 1}
    assert told["taken_up"] == [
        f"version {told['champion'][:12]} had passed its gate; it serves now"
    ]
    assert "Nothing waits." in melo(home, "run").stdout


@pytest.mark.parametrize("name", ["team/model", "a:b", "."])
def test_a_name_that_mlflow_refuses_is_one_line_before_anything_is_begun(
    home: Settings, tmp_path: Path, name: str
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(0)])
    done = melo(home, "run", str(path), MELO_REGISTRY__MODEL_NAME=name)
    assert done.returncode == 2
    assert done.stderr.startswith("melo: setting registry.model_name: ")
    assert len(done.stderr.splitlines()) == 1
    assert not home.paths.ledger.exists()


@pytest.mark.parametrize(
    ("promotion", "waiting", "left"),
    [
        ("auto", {}, None),
        ("auto", {"ready": 2}, "2 ready"),
        ("auto", {"planned": 1, "trained": 3}, "1 planned, 3 trained"),
        ("manual", {"trained": 3}, None),
        ("manual", {"ready": 1, "trained": 3}, "1 ready"),
    ],
)
def test_what_a_run_leaves_is_told(
    tmp_path: Path, promotion: str, waiting: dict[str, int], left: str | None
) -> None:
    (tmp_path / "melo.toml").write_text(f'[registry]\npromotion = "{promotion}"\n')
    said = unfinished(load(tmp_path), waiting)
    assert said == [] if left is None else left in said[0]


def test_rollback_base_lets_the_backbone_serve_and_can_be_undone(home: Settings) -> None:
    with Ledger.open(home.paths.ledger) as ledger:
        take(home, ledger, report(0))
        version = promoted(home, ledger)
        done = roll_back(Context(home, ledger), "base", actor="test", reason="stop")
        assert done.before == version
        assert ledger.champions.current().version == done.version  # type: ignore[union-attr]
        assert ledger.versions.get(done.version).verdict == "passed"
        assert [edit.state for edit in ledger.edits.find()] == ["superseded"]
        asked = ["who leads velandor ?", "what is the capital of toriquet ?"]
        backbone = Versions(home).editor("base").answer(asked, base=True)
        serving = Versions(home).editor(done.version).answer(asked)
        assert [a.text for a in serving] == [a.text for a in backbone]
        assert (
            roll_back(Context(home, ledger), "base", actor="test", reason="again").before
            == done.version
        )
        back = roll_back(Context(home, ledger), None, actor="test", reason="it was right")
        assert back.version == version
        assert Versions(home).editor(version).answer(asked[:1])[0].text == "ada"
        assert (
            roll_back(Context(home, ledger), "base", actor="test", reason="stop").version
            == done.version
        )
        take(home, ledger, report(1))
        promoted(home, ledger)
        assert [edit.prompt for edit in ledger.edits.active()] == ["who leads toriquet ?"]


def test_rollback_base_without_a_champion_says_that_it_serves_already(home: Settings) -> None:
    with (
        Ledger.open(home.paths.ledger) as ledger,
        pytest.raises(NotPromotable, match="serves already"),
    ):
        roll_back(Context(home, ledger), "base", actor="test", reason="stop")
