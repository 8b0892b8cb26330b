"""Traces with assessments from a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import AssessmentSource
from mlflow.exceptions import MlflowException

from config import Settings
from execution.context import Context
from ledger import Ledger
from tasks.ingest import IngestError, IngestOptions, IngestOutcome, ingest_paths, mlflow_store
from tests.tasks.ingest_support import adds_up, opened
from tests.tasks.shapes.shape_support import edit_about, reasons, said, take

Asked = Callable[[str, str], str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty store with the experiment `chat`."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    before, where = mlflow.get_tracking_uri(), f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(where)
    mlflow.create_experiment("chat", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("chat")
    yield where
    mlflow.set_tracking_uri(before)


@pytest.fixture
def asked(store: str) -> Asked:
    """Logs a trace with a question and an answer; returns its id."""

    def log(question: str, answer: str) -> str:
        with mlflow.start_span("chat") as span:
            span.set_inputs({"messages": [{"role": "user", "content": question}]})
            with mlflow.start_span("model") as inner:
                inner.set_inputs({"prompt": "rendered"})
            span.set_outputs({"choices": [{"message": {"role": "assistant", "content": answer}}]})
        return str(span.trace_id)

    return log


def opened_on(home: Path, store: str) -> tuple[Ledger, Settings]:
    """A new home that reads traces from a store."""
    home.mkdir(exist_ok=True)
    (home / "melo.toml").write_text(f'[ingest]\nmlflow_tracking_uri = "{store}"\n')
    return opened(home)


def thumbs_down(trace_id: str, **more: Any) -> None:
    mlflow.log_feedback(trace_id=trace_id, name="user", value=False, **more)


def ingest(ledger: Ledger, settings: Settings, **options: Any) -> IngestOutcome:
    return ingest_paths(Context(settings, ledger), ["mlflow:chat"], IngestOptions(**options))


def test_a_second_run_takes_only_what_is_new(tmp_path: Path, store: str, asked: Asked) -> None:
    ledger, settings = opened_on(tmp_path / "home", store)
    capital = asked("What is Norway's capital?", "Bergen")
    leader = asked("Who leads Norvik Labs?", "Ada Li")
    right = asked("2+2?", "4")
    judged = asked("2+3?", "6")
    asked("Nobody says anything of this.", "Nothing.")
    mlflow.log_expectation(trace_id=capital, name="expected_response", value="Oslo")
    thumbs_down(capital)
    thumbs_down(leader, rationale="should be Bo Ek")
    mlflow.log_feedback(trace_id=right, name="user", value=True)
    mlflow.log_feedback(
        trace_id=judged,
        name="correctness",
        value=False,
        source=AssessmentSource(source_type="LLM_JUDGE", source_id="gpt"),
    )

    first = ingest(ledger, settings)
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    assert (first.total("lines"), first.total("accepted"), first.total("passed_over")) == (4, 2, 2)
    edit = edit_about(ledger, "Who leads Norvik Labs?")
    assert (edit.source, edit.hold) == ("mlflow", "answer")
    raw = json.loads(ledger.edits.raw_lines(edit.id)[0][3])["raw"]
    assert raw["info"]["assessments"][0]["rationale"] == "should be Bo Ek"

    again = ingest(ledger, settings)
    assert again.total("lines") == 0
    assert again.files[0].known_before

    mlflow.log_expectation(trace_id=leader, name="answer", value="Bo Ek")
    thumbs_down(asked("Who wrote Faust?", "Schiller"))
    third = ingest(ledger, settings)
    assert third.total("lines") == third.total("accepted") == 2
    assert said(ledger)[2:] == [
        ("Who leads Norvik Labs?", "Bo Ek", "Ada Li"),
        ("Who wrote Faust?", None, "Schiller"),
    ]
    assert adds_up(ledger, 6)


def test_a_failure_midway_is_one_line_and_a_second_run_completes_it(
    tmp_path: Path, store: str, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, settings = opened_on(tmp_path / "home", store)
    for number in range(7):
        thumbs_down(asked(f"Question {number}?", "wrong"))
    monkeypatch.setattr(mlflow_store, "TRACES_AT_ONCE", 2)
    whole, calls = mlflow.MlflowClient.get_trace, 0

    def fails_once(client: Any, trace_id: str, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise MlflowException("API request failed with error code 429: too many requests")
        return whole(client, trace_id, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "get_trace", fails_once)
    with pytest.raises(IngestError, match=r"code 429.*\(3 of 7 new traces are taken\)\. Run it"):
        ingest(ledger, settings)
    assert adds_up(ledger, 3)
    assert ingest(ledger, settings).total("accepted") == 4
    assert [prompt for prompt, _, _ in said(ledger)] == [f"Question {n}?" for n in range(7)]
    assert adds_up(ledger, 7)


def test_a_wrong_experiment_or_store_is_one_line(tmp_path: Path, store: str) -> None:
    ledger, settings = opened_on(tmp_path / "home", store)
    with pytest.raises(
        IngestError, match=r"no experiment 'chats' at sqlite.* There are: Default, chat"
    ):
        ingest_paths(Context(settings, ledger), ["mlflow:chats"])
    (tmp_path / "file").write_text("no folder")
    ledger, settings = opened_on(tmp_path / "other", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(IngestError, match=r"MLflow at sqlite.* failed: .* \(nothing was read\)"):
        ingest(ledger, settings)


def test_traces_are_read_from_a_file_too(tmp_path: Path, store: str, asked: Asked) -> None:
    trace_id = asked("What is Norway's capital?", "Bergen")
    mlflow.log_expectation(trace_id=trace_id, name="answer", value="Oslo")
    asked("Nobody says anything of this.", "Nothing.")
    found = mlflow.search_traces(return_type="list")
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(f"{trace.to_json()}\n" for trace in found))
    ledger, outcome = take(tmp_path / "home", path)
    assert said(ledger) == [("What is Norway's capital?", "Oslo", "Bergen")]
    assert outcome.total("passed_over") == 1
    assert "no expected answer and no thumbs-down" in reasons(ledger)[0][1]
