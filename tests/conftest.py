"""What many tests stand on: a tiny real backbone in a folder, a home that uses it, the command.

tiny_backbone_path    a T5 of two layers with random weights, one token a word; made once
smollm2_path          SmolLM2-135M-Instruct in the user's cache, where it is made once
home                  a fresh home for it
melo                  the command line in that home
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings, load

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")
ROOT = Path(__file__).parents[1]
SUBJECTS = ("velandor", "toriquet", "quinomire", "zarustra", "mabelban", "ostovic", "kelarweth")
PEOPLE = ("ada", "jon", "mia", "tom", "eva", "kim", "sol")
CITIES = ("oslo", "lima", "cairo", "quito", "delhi", "hanoi", "minsk")
TOML = """\
[backbone]
path = "{path}"
device = "cpu"

[edit]
threads = 1
rank = 4

[plan]
max_edits_per_job = 4

[contradictions]
alike = 0.8   # of raw states, which a random model spreads wider than a learned projection

[gate]
thresholds = "{thresholds}"
"""
# A random model of fifty words has no relations to tell apart: what is asked of it is that its
# edits answer, that nothing else changes, and that a planted probe condemns the right edit.
THRESHOLDS = """\
default: {share: 0.0, least: 0, required: false, protected: false, worse: 0}
suites:
  retention: {share: 1.0, least: 0, required: true, protected: true}
  guarded: {share: 1.0, least: 1, protected: true}
  watched: {share: 1.0, least: 1, protected: false}
"""


def report(number: int, target: str | None = None, **more: object) -> dict[str, object]:
    """An error report about the subject of this number."""
    subject = SUBJECTS[number]
    return {
        "prompt": f"who leads {subject} ?",
        "target": target or PEOPLE[number],
        "subject": subject,
        "source": "desk",
        **more,
    }


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    """Rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first: processes that share the rest then end together."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.fixture(scope="session")
def tiny_backbone_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small T5 with random weights, always the same ones, saved as transformers saves models."""
    from benchmarks.tiny import untrained_t5, word_tokenizer

    text = "who leads what is the capital of city in which now ? new head a name tell me"
    tokenizer = word_tokenizer([*text.split(), *SUBJECTS, *PEOPLE, *CITIES])
    model = untrained_t5(len(tokenizer), n_positions=64)
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """A pretrained chat model, 538 MB: in the user's cache, so that all runs share it."""
    from execution.backbone.locate import fetch_backbone

    return fetch_backbone("smollm2")


@pytest.fixture(scope="session")
def projections(tiny_backbone_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny backbone's keys as they are read: it has nothing that a projection could learn."""
    from execution.versions import Versions
    from melo_engine.keys import KeyReader

    settings = make_home(tmp_path_factory.mktemp("first"), tiny_backbone_path)
    versions = Versions(settings)
    file = versions.projection_file
    file.parent.mkdir(parents=True)
    KeyReader(versions.encoder).projection.save(file)
    return file.parent


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without a run; to make one takes MLflow some seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def home(
    tmp_path: Path, tiny_backbone_path: Path, projections: Path, empty_store: Path
) -> Settings:
    """A fresh home that edits the tiny backbone."""
    settings = make_home(tmp_path / "home", tiny_backbone_path)
    shutil.copy(empty_store, settings.paths.mlflow_db)
    shutil.copytree(projections, settings.paths.cache / "projections")
    return settings


def make_home(folder: Path, backbone: Path) -> Settings:
    """A home with its settings and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    thresholds = folder / "thresholds.yaml"
    thresholds.write_text(THRESHOLDS, encoding="utf-8")
    text = TOML.format(path=backbone, thresholds=thresholds)
    (folder / "melo.toml").write_text(text, encoding="utf-8")
    return load(folder)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the demo has run once, on a small backbone; what it told lies beside it.

    Nobody may write to it.
    """
    home = tmp_path_factory.mktemp("demo") / "home"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli.main",
            "demo",
            "--home",
            str(home),
            "--json",
            "--beliefs",
            str(ROOT / "tests" / "beliefs.jsonl"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=clean,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (home.parent / "told.json").write_text(done.stdout)
    return home


class Melo:
    """Runs a command in one home, in this process; keeps exit code and output."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        from cli.main import run

        with pytest.raises(SystemExit) as stop:
            run(["--home", str(self.home), *arguments])
        out, err = self.capsys.readouterr()
        return int(stop.value.code or 0), out, err

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json; it must succeed."""
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def melo_in(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], Melo]:
    """The command line in a home of the test's choice."""
    return lambda folder: Melo(folder, capsys)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One ephemeral Prefect server for all tests that run a flow."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
