"""`melo gate` and `melo suites` on a real home: a ledger, a saved backbone, saved versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.root import app
from config import load
from execution.context import Context
from ledger import Ledger
from melo_engine import Editor
from tasks.gate.by_hand import audit
from tests.tasks.gate.conftest import World


@pytest.fixture(scope="module")
def home(world: World, tmp_path_factory) -> Path:
    """A home whose champion is the healthy version."""
    home = tmp_path_factory.mktemp("home")
    world.backbone.model.save_pretrained(home / "backbone")
    world.backbone.tokenizer.save_pretrained(home / "backbone")
    (home / "melo.toml").write_text('[backbone]\npath = "backbone"\nmax_prompt_tokens = 64\n')
    settings = load(home)
    with Ledger.open(settings.paths.ledger) as ledger:
        parent = None
        for version in (world.champion, world.candidate):
            folder = settings.paths.versions / version.id
            Editor(world.backbone, version).save(folder, settings.paths.versions / "shards")
            ledger.versions.record(version.id, parent=parent, job_id=None)
            parent = version.id
        ledger.champions.set(parent, expected=None, actor="test", reason="first")
    return home


def melo(home: Path, *arguments: str):
    return CliRunner().invoke(app, ["--home", str(home), *arguments], catch_exceptions=False)


def test_gating_by_hand_passes_and_writes_a_report(home: Path, world: World):
    done = melo(home, "gate", "champion", "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0, said["reason"]
    assert said["candidate"] == world.candidate.id
    assert said["champion"] == world.champion.id
    assert Path(said["report"]).read_text().startswith("<!doctype html>")
    again = json.loads(melo(home, "gate", world.candidate.id[:8], "--json").stdout)
    assert again["generated"] == 0


def test_a_suite_that_fails_makes_the_exit_code_one(home: Path, tmp_path: Path):
    probes = tmp_path / "wanted.jsonl"
    probes.write_text('{"prompt": "name a thing", "value": "something else"}\n')
    assert melo(home, "suites", "add", str(probes), "--expect", "exact").exit_code == 0
    assert "wanted" in melo(home, "suites", "list").stdout
    assert melo(home, "suites", "check").exit_code == 0
    failed = melo(home, "gate", "--suite", "wanted", "--json")
    assert failed.exit_code == 1
    assert {c["suite"] for c in json.loads(failed.stdout)["checks"]} >= {"wanted", "backbone"}
    (home / "suites" / "wanted.jsonl").write_text("")
    assert melo(home, "suites", "check").exit_code == 1
    assert "holds no probe" in melo(home, "gate", "--suite", "wanted").stdout
    for file in (home / "suites").iterdir():
        file.unlink()


def test_an_audit_of_a_healthy_champion_passes_and_leaves_an_event(home: Path):
    settings = load(home)
    with Ledger.open(settings.paths.ledger) as ledger:
        result = audit(Context(settings, ledger))
        (event,) = ledger.events.latest(kind="audit")
    assert result.full
    assert result.passed, result.reason
    assert event.severity == "info"
