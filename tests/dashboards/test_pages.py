"""Each page: what it shows, its filters in the address, and what stands where something is away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config import Settings, load
from dashboards.queries import Records
from dashboards.report import as_text
from execution.context import Context
from ledger import Ledger
from tasks.ingest import ingest_paths
from tests.conftest import report, write_lines
from tests.dashboards.conftest import Opened, address, figures, said

PAGES = ("overview", "queue", "version", "edit", "routing", "cost", "ask")
SPEAKS = {
    "overview": ("the gate kept", "report to live", "wait", "half of the reports are live"),
    "queue": (
        "of what waits",
        "edits to decide",
        "weakest source",
        "melo review reject",
        "contradictions",
    ),
    "version": ("every suite passes", "checks passed", "edits:", "mlflow"),
    "edit": ("pick one", "all that happened to it"),
    "routing": (
        "edits answered",
        "fell just beside an edit",
        "within the reach",
        "answered nothing",
    ),
    "cost": ("of a version's time", "memory peaks", "edits a second", "beside the backbone"),
    "ask": ("nobody answers here",),
}


@pytest.fixture(autouse=True)
def without_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process to ask."""
    monkeypatch.delenv("MELO_ASK", raising=False)
    monkeypatch.delenv("MELO_REVIEW", raising=False)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_to_conclude(page: str, synthetic: Settings, opened: Opened) -> None:
    app = opened(synthetic.home, page)
    assert not app.exception
    text = said(app).lower() + str(figures(app)).lower()
    for words in SPEAKS[page]:
        assert words in text, f"{words!r} is not on {page}: {text[:2000]}"


@pytest.mark.parametrize("page", PAGES)
def test_a_home_without_a_ledger_says_so(page: str, tmp_path: Path, opened: Opened) -> None:
    app = opened(tmp_path / "nothing", page)
    assert not app.exception
    assert "nothing has been published yet" in said(app)
    assert str(tmp_path) not in said(app)
    assert not (tmp_path / "nothing").exists()


def test_a_stores_password_is_not_shown(
    synthetic: Settings, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "postgresql+psycopg2://melo:HIDDEN@127.0.0.1:1/melo"
    monkeypatch.setenv("MELO_REGISTRY__TRACKING_URI", uri)
    app = opened(synthetic.home)
    assert "MLflow can't be compared" in said(app)
    assert "postgresql+psycopg2://127.0.0.1:1/melo" in said(app)
    assert "HIDDEN" not in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_ledger_says_what_would_fill_the_page(
    page: str, tmp_path: Path, opened: Opened
) -> None:
    settings = load(tmp_path)
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger):
        pass
    app = opened(tmp_path, page)
    assert not app.exception
    assert any(part.value.startswith("`melo ") for part in app.markdown)


@pytest.mark.parametrize("page", ["overview", "edit"])
def test_a_copy_that_is_no_ledger_is_named(page: str, tmp_path: Path, opened: Opened) -> None:
    copy = load(tmp_path).paths.read_ledger
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"not a database" * 400)
    app = opened(tmp_path, page)
    assert not app.exception
    assert "The ledger can't be read at the moment" in said(app)


def test_what_failed_is_told_without_where_the_home_lies(tmp_path: Path, opened: Opened) -> None:
    settings = load(tmp_path / "mine")
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        ledger.events.record("job-failed", f"{settings.home}/cache/x is gone", severity="error")
        ingest_paths(Context(settings, ledger), [write_lines(tmp_path / "in.jsonl", [report(0)])])
    told = "mine/cache/x is gone"
    app = opened(settings.home)
    assert told in said(app)
    now = datetime.now(UTC)
    text = as_text(Records(settings).overview(now), now)
    assert told in text
    assert str(tmp_path) not in said(app) + text


def test_mlflow_being_away_leaves_the_page(synthetic: Settings, opened: Opened) -> None:
    for page in ("overview", "version"):
        app = opened(synthetic.home, page)
        assert not app.exception
        assert "home/mlflow.db is not there" in said(app)
        assert str(synthetic.home) not in said(app)
        assert len(app.metric) == 5


def test_a_server_that_does_not_answer_is_said_to(
    synthetic: Settings, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELO_REGISTRY__TRACKING_URI", "http://127.0.0.1:9")
    app = opened(synthetic.home)
    assert not app.exception
    assert "MLflow at http://127.0.0.1:9 can't be read" in said(app)


def test_mlflow_is_joined_with_the_ledger(lived: Settings, opened: Opened) -> None:
    app = opened(lived.home, "version")
    assert not app.exception
    assert "version 2, alias candidate, champion" in said(app)
    overview = opened(lived.home)
    assert not overview.warning
    assert "can't be compared" not in said(overview)


def test_another_champion_in_mlflow_is_told(
    lived: Settings, tmp_path: Path, opened: Opened
) -> None:
    home = tmp_path / "home"
    shutil.copytree(lived.home, home)
    import mlflow

    store = f"sqlite:///{home / 'mlflow.db'}"
    client = mlflow.MlflowClient(store, store)
    [model] = client.search_registered_models()
    client.set_registered_model_alias(model.name, "champion", "1")
    app = opened(home)
    assert [w for w in app.warning if "alias champion stands for" in w.value]


def test_filters_stand_in_the_address(synthetic: Settings, opened: Opened) -> None:
    app = opened(synthetic.home, "queue", state="held", source="crm")
    assert app.selectbox(key="pick-state").value == "held"
    assert app.selectbox(key="pick-source").value == "crm"
    app.selectbox(key="pick-state").select("ready").run()
    assert address(app, "state") == "ready"
    app.selectbox(key="pick-state").select("all").run()
    assert "state" not in app.query_params
    found = opened(synthetic.home, "edit", q="Osto", state="active")
    assert found.text_input(key="type-q").value == "Osto"
    assert all("Osto" in p for p in found.dataframe[0].value["prompt"])


def test_a_filter_that_makes_no_sense_is_passed_over(synthetic: Settings, opened: Opened) -> None:
    app = opened(synthetic.home, "version", version="no-such-version", probes="what")
    assert not app.exception
    assert len(app.metric) == 5
    app = opened(synthetic.home, "edit", edit="no-such-edit")
    assert not app.exception
    assert "No edit no-such-edit is on record" in said(app)


def test_what_people_wrote_is_shown_as_it_is(tmp_path: Path, opened: Opened) -> None:
    settings = load(tmp_path / "home")
    nasty = (
        "**Who** leads <img src=x onerror=alert(1)> :red[Acme] ![a](http://x.example/y.png) $x$ ?"
    )
    path = write_lines(
        tmp_path / "in.jsonl",
        [report(0) | {"prompt": nasty, "target": "`_Ada_`", "subject": "Acme"}],
    )
    with Ledger.open(settings.paths.ledger, read_copy=settings.paths.read_ledger) as ledger:
        ingest_paths(Context(settings, ledger), [path])
    app = opened(settings.home, "edit")
    assert not app.exception
    [line] = [m.value for m in app.markdown if m.value.startswith("### ")]
    for mark in ("\\*\\*Who", "\\<img", "\\:red\\[", "\\!\\[a\\]", "\\$x", "\\`\\_Ada"):
        assert mark in line
    assert nasty in line.replace("\\", "")


def test_pages_follow_while_the_pipeline_writes(tmp_path: Path, opened: Opened) -> None:
    """Another process takes reports in without pause; each look shows a whole and newer state."""
    home = tmp_path / "home"
    code = (
        "import sys; from config import load; from ledger import Ledger\n"
        "from execution.context import Context\n"
        "from tasks.ingest import ingest_rows\n"
        "s = load(sys.argv[1])\n"
        "with Ledger.open(s.paths.ledger, read_copy=s.paths.read_ledger) as ledger:\n"
        "    print('ready', flush=True)\n"
        "    for n in range(10_000):\n"
        "        row = {'prompt': f'Who leads firm {n} ?', 'target': 'Ada', 'subject': f'firm {n}'}\n"
        "        ingest_rows(Context(s, ledger), [row], source='desk')\n"
        "        ledger.store.publish()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        while not load(home).paths.read_ledger.exists():
            assert writer.poll() is None
        counts: list[int] = []
        app = opened(home, "queue")
        while len(set(counts)) < 4 and len(counts) < 300:
            app.run()
            assert not app.exception
            assert "can't be read" not in said(app)
            counts.append(int(figures(app)["Waiting"].replace(",", "")))
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()
    assert counts == sorted(counts)
    assert len(set(counts)) == 4
