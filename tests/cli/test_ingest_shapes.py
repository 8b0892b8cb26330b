"""`melo ingest` on what other tools export: what is listed, told and returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "tasks" / "shapes" / "fixtures"
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}


def melo(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "--home", str(home), "ingest", *map(str, arguments)],
        env=CLEAN,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_shapes_are_listed_with_tool_and_what_they_read(tmp_path: Path) -> None:
    listed = json.loads(melo(tmp_path / "home", "--shapes", "--json").stdout)
    assert {row["name"] for row in listed} >= set(
        "argilla hugging-face label-studio langfuse langsmith mlflow open-webui openai sharegpt".split()
    )
    assert all(row["tool"] and row["reads"] for row in listed)
    shown = melo(tmp_path / "home", "--shapes").stdout
    assert all(row["name"] in shown for row in listed)
    assert not (tmp_path / "home").exists()


def test_what_names_no_error_is_counted_and_no_failure(tmp_path: Path) -> None:
    thumbs_up = json.loads((FIXTURES / "open_webui.json").read_text())[2]
    path = tmp_path / "feedback.json"
    path.write_text(json.dumps([thumbs_up]))
    done = melo(tmp_path / "home", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 of the quarantined lines name no error" in done.stdout
    done = melo(tmp_path / "home", FIXTURES / "open_webui.json", "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert (told["lines"], told["quarantined"], told["passed_over"]) == (4, 2, 1)
    assert done.stderr.count("\n") == 1
    assert "melo: 1 of 4 lines were quarantined, the first in" in done.stderr


def test_a_wrong_shape_or_experiment_is_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (("--shape", "nope", FIXTURES / "sharegpt.jsonl"), "no shape 'nope'. There are: argilla"),
        (("mlflow:nope",), "no experiment 'nope' at sqlite:"),
    ):
        done = melo(tmp_path / "home", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
