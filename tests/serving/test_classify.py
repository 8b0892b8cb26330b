"""A classifier behind the service: which class, which edit decided it, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config import load
from execution.context import Context, open_ledger
from execution.versions import Versions
from melo_engine import Editor
from melo_engine.types import Answer
from registry.store import Registry
from tasks.register import register
from tests.conftest import make_home
from tests.melo_engine.models import LABELS, model, requests, tokenizer
from tests.serving.support import Running, running, tuned

UNEDITED = "what capital city does it lie in ?"


@pytest.fixture(scope="module")
def classifier(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[tuple[Running, Editor]]:
    """A service whose champion changes what a tiny BERT says of two texts, and its editor."""
    folder = tmp_path_factory.mktemp("classifier")
    model("bert-classifier").save_pretrained(folder / "bert")
    tokenizer().save_pretrained(folder / "bert")
    file = make_home(folder / "home", folder / "bert").paths.settings
    task = '[backbone]\ntask = "sequence-classification"'
    file.write_text(file.read_text().replace("[backbone]", task))
    settings = load(folder / "home")
    shutil.copy(empty_store, settings.paths.mlflow_db)
    versions = Versions(settings)
    editor = Editor(versions.backbone, settings=versions.edit_settings)
    wrong = [
        replace(request, target=_another(editor.answer([request.prompt])[0]))
        for request in requests("bert-classifier", 2)
    ]
    version = editor.edit(wrong).version
    versions.save(version)
    with open_ledger(settings) as ledger:
        ledger.versions.record(version.id, parent=None, job_id=None)
        ledger.versions.record_verdict(version.id, passed=True, reason="for the tests of serving")
        register(Context(settings, ledger), version.id)
    registry = Registry(settings)
    registry.set_alias(registry.name_for(versions.backbone), "champion", "1")
    with running(tuned(settings, auth="none")) as found:
        yield found, editor


def test_a_text_is_classed_by_its_edit_or_else_by_the_backbone(
    classifier: tuple[Running, Editor],
) -> None:
    server, editor = classifier
    edited = [edit.request for edit in editor.version.edits.values()]
    texts = [*(request.prompt for request in edited), UNEDITED]
    got = _post(server, "/v1/classify", input=texts)
    first, second, other = got["data"]
    assert [first["label"], second["label"]] == [request.target for request in edited]
    routes = editor.routes(texts)
    for told, route in zip((first, second), routes, strict=False):
        assert told["melo"]["version"] == got["model"] == editor.version.id
        assert (told["melo"]["edit"], told["melo"]["block"]) == (route.edit, route.block)
        assert told["melo"]["distance"] == pytest.approx(route.distance, abs=1e-5)
        assert told["melo"]["distance"] <= told["melo"]["radius"]
        assert max(told["scores"], key=told["scores"].get) == told["label"]
        assert set(told["scores"]) == set(LABELS)
        assert sum(told["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert (other["melo"]["edit"], other["melo"]["block"]) == (None, None)
    [bare] = editor.answer([UNEDITED], base=True)
    assert other["label"] == bare.text
    before = _post(server, "/v1/classify", input=texts, model="base")["data"]
    assert [row["label"] for row in before[:2]] != [row["label"] for row in got["data"][:2]]
    assert before[2]["scores"] == pytest.approx(other["scores"], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"input": []}, 400, "invalid_request"),
        ({"input": " "}, 400, "invalid_request"),
        ({"input": [1, 2]}, 400, "invalid_request"),
        ({"input": "who", "labels": ["calm"]}, 400, "invalid_request"),
        ({"input": ["who"] * 60}, 400, "too_many"),
        ({"input": "who " * 600}, 400, "context_length_exceeded"),
        ({"input": "who", "model": "nobody"}, 404, "model_not_found"),
        ({"input": "who", "model": "../../etc"}, 404, "model_not_found"),
    ],
)
def test_what_can_not_be_classed_is_refused(
    classifier: tuple[Running, Editor], body: dict[str, object], status: int, code: str
) -> None:
    with classifier[0].client() as client:
        got = client.post("/v1/classify", json=body)
    assert (got.status_code, got.json()["error"]["code"]) == (status, code)


def test_a_classifier_writes_no_text(classifier: tuple[Running, Editor]) -> None:
    asked = {
        "/v1/completions": {"prompt": "who"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "who"}]},
    }
    with classifier[0].client() as client:
        for path, body in asked.items():
            for stream in (False, True):
                got = client.post(path, json={**body, "stream": stream})
                assert (got.status_code, got.json()["error"]["code"]) == (400, "no_generator")
                assert "/v1/classify" in got.json()["error"]["message"]


def test_a_model_that_writes_text_names_no_class(server: Running) -> None:
    with server.client() as client:
        got = client.post("/v1/classify", json={"input": "who leads velandor ?"})
    assert (got.status_code, got.json()["error"]["code"]) == (400, "no_classifier")
    assert "/v1/completions" in got.json()["error"]["message"]


def _post(server: Running, path: str, **body: Any) -> dict[str, Any]:
    with server.client() as client:
        got = client.post(path, json=body)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


def _another(said: Answer) -> str:
    """A class that the backbone does not give."""
    return next(label for label in LABELS if label != said.text)
