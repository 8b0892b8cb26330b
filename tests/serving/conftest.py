"""A home with two registered versions of the tiny backbone, made once; each test has its copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings, load
from execution.context import Context, open_ledger
from execution.versions import Versions
from melo_engine import Editor, EditRequest
from melo_engine.keys import KeyReader
from registry.store import Registry
from tasks.register import register
from tests.conftest import make_home
from tests.serving.chat_models import save_chat_model
from tests.serving.support import ANSWERS, SECOND, Running, running, tuned


def edits(answers: dict[str, str]) -> list[EditRequest]:
    """Edits that are bound to the subject in their question."""
    return [EditRequest(p, target, subject=p.split()[2]) for p, target in answers.items()]


@pytest.fixture(scope="session")
def served_home(
    tmp_path_factory: pytest.TempPathFactory, tiny_backbone_path: Path, empty_store: Path
) -> Path:
    """Numbers 1 and 2 of the registered model; 1 is the champion."""
    settings = make_home(tmp_path_factory.mktemp("serving") / "home", tiny_backbone_path)
    shutil.copy(empty_store, settings.paths.mlflow_db)
    versions = Versions(settings)
    editor = Editor(versions.backbone, settings=versions.edit_settings)
    first = edits(ANSWERS)
    edited = [editor.edit(first).version]
    outdated = [edit.id for edit in first if SECOND[str(edit.prompt)] != edit.target]
    edited.append(editor.edit(edits(SECOND), replaces=outdated).version)
    registry = Registry(settings)
    with open_ledger(settings) as ledger:
        for version in edited:
            versions.save(version)
            ledger.versions.record(version.id, parent=version.parent, job_id=None)
            ledger.versions.record_verdict(
                version.id, passed=True, reason="for the tests of serving"
            )
            register(Context(settings, ledger), version.id)
    registry.set_alias(registry.name_for(versions.backbone), "champion", "1")
    return settings.home


@pytest.fixture
def two_versions(served_home: Path, tmp_path: Path) -> Settings:
    """A copy of that home that listens on loopback without keys."""
    shutil.copytree(served_home, tmp_path / "home")
    return tuned(load(tmp_path / "home"), auth="none")


@pytest.fixture(scope="module")
def server(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of the first version that the tests of one file share."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(served_home, home)
    with running(tuned(load(home), auth="none", record_prompts=True)) as found:
        yield found


@pytest.fixture(scope="session")
def chat_home(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A home of the tiny chat model; its champion says who leads two subjects."""
    folder = tmp_path_factory.mktemp("chat")
    settings = make_home(folder / "home", save_chat_model(folder / "chat"))
    file = settings.paths.settings
    file.write_text(file.read_text().replace("[edit]", '[edit]\nkey_reader = "hidden-states"'))
    settings = load(folder / "home")
    shutil.copy(empty_store, settings.paths.mlflow_db)
    versions = Versions(settings)
    editor = Editor(
        versions.backbone, reader=KeyReader(versions.encoder), settings=versions.edit_settings
    )
    result = editor.edit(edits(ANSWERS))
    assert {outcome.status for outcome in result.outcomes} == {"trained"}, result.outcomes
    versions.save(result.version)
    with open_ledger(settings) as ledger:
        ledger.versions.record(result.version.id, parent=None, job_id=None)
        ledger.versions.record_verdict(
            result.version.id, passed=True, reason="for the tests of serving"
        )
        register(Context(settings, ledger), result.version.id)
    registry = Registry(settings)
    registry.set_alias(registry.name_for(versions.backbone), "champion", "1")
    return settings.home


@pytest.fixture(scope="module")
def chat_server(chat_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of it that the tests of one file share."""
    home = tmp_path_factory.mktemp("chats") / "home"
    shutil.copytree(chat_home, home)
    settings = tuned(load(home), auth="none", cors_origins=["https://chat.example"])
    with running(settings) as found:
        yield found
