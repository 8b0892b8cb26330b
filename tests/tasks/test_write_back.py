"""Who reported is told that an edit serves: once, whatever dies when, and nobody unless it is set."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

from config import Settings, load
from execution.context import Context
from ledger import Ledger
from tasks.ingest import ingest_paths, ingest_rows
from tasks.write_back import write_back
from tests.ledger.support import run_job

KILLED = """
import os, signal, sys
from config import load
from execution.context import Context
from ledger import Ledger
from ledger.write_backs import WriteBacks
from tasks.write_back import write_back
if sys.argv[2] == "before the outcome":
    WriteBacks.end = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
settings = load(sys.argv[1])
write_back(Context(settings, Ledger.open(settings.paths.ledger)))
"""


@dataclass
class Tool:
    """A real HTTP server that keeps what is posted. answers: its next status codes, then 200.

    kills: the process that posts is killed before it gets an answer.
    """

    url: str = ""
    posts: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    kills: subprocess.Popen[bytes] | None = None


@pytest.fixture
def tool() -> Iterator[Tool]:
    found = Tool()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.posts.append((self.path, dict(self.headers), body))
            if found.kills is not None:
                found.kills.kill()
                return
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def home(folder: Path, write_back: str, ingest: str = "") -> tuple[Settings, Ledger]:
    folder.mkdir(exist_ok=True)
    (folder / "melo.toml").write_text(f"[write_back]\n{write_back}\n[ingest]\n{ingest}\n")
    settings = load(folder)
    return settings, Ledger.open(settings.paths.ledger)


def langfuse(number: int, question: str, right: str | None) -> dict[str, Any]:
    """A score with its trace in it."""
    said = (
        {"dataType": "CORRECTION", "stringValue": right}
        if right
        else {"dataType": "BOOLEAN", "value": 0}
    )
    trace = {"id": f"t{number}", "input": question, "output": "no", "projectId": "p"}
    return {
        "id": f"s{number}",
        "traceId": f"t{number}",
        "observationId": None,
        "name": "output",
        **said,
        "about": trace,
    }


def serves(ledger: Ledger, version: str = "v1") -> None:
    ledger.jobs.plan()
    run_job(ledger, version, now=datetime.now(UTC))


def outcomes(ledger: Ledger) -> list[tuple[str, str | None, str]]:
    return [(w.tool, w.trace, w.state) for w in ledger.write_backs.find()]


LANGFUSE = 'langfuse_url = "{0}"\nlangfuse_public_key = "pk"\nlangfuse_secret_key = "sk"'


def test_langfuse_and_webhook_are_told_once_and_who_only_complained_too(
    tmp_path: Path, tool: Tool
) -> None:
    settings, ledger = home(
        tmp_path / "home", f'{LANGFUSE.format(tool.url)}\nwebhook_url = "{tool.url}/hook"'
    )
    rows = [
        langfuse(1, "Capital of Norway?", None),
        langfuse(2, "Capital of Norway?", "Oslo"),
        langfuse(3, "2+2?", None),
    ]
    ingest_rows(Context(settings, ledger), rows, source="langfuse", shape="langfuse")
    assert write_back(Context(settings, ledger)).told == 0  # nothing serves yet
    serves(ledger)
    assert write_back(Context(settings, ledger)).told == 3
    scores = [post for post in tool.posts if post[0] == "/api/public/scores"]
    assert {body["traceId"] for _, _, body in scores} == {"t1", "t2"}
    _, headers, body = scores[0]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"pk:sk").decode()
    assert (body["value"], body["dataType"], body["name"]) == ("serves", "CATEGORICAL", "melo.edit")
    (hook,) = [post for post in tool.posts if post[0] == "/hook"]
    assert (hook[2]["target"], hook[2]["version"]) == ("Oslo", "v1")
    assert hook[1]["Idempotency-Key"] == hook[2]["key"]
    for _ in range(2):
        assert write_back(Context(settings, ledger)).told == 0
    assert len(tool.posts) == 3
    later = [langfuse(4, "Capital of Norway?", "Oslo")]  # the same correction from another trace
    ingest_rows(Context(settings, ledger), later, source="langfuse", shape="langfuse")
    assert write_back(Context(settings, ledger)).told == 1
    assert tool.posts[-1][2]["traceId"] == "t4"


@pytest.mark.parametrize("status", [429, 500])
def test_a_tool_that_fails_is_one_event_and_the_next_run_completes_it(
    tmp_path: Path, tool: Tool, status: int
) -> None:
    settings, ledger = home(tmp_path / "home", LANGFUSE.format(tool.url))
    rows = [langfuse(n, f"Question {n}?", "yes") for n in range(4)]
    ingest_rows(Context(settings, ledger), rows, source="langfuse", shape="langfuse")
    serves(ledger)
    tool.answers = [200, status]
    done = write_back(Context(settings, ledger))
    assert (done.told, done.left) == (1, 3)
    (event,) = [e for e in ledger.events.latest() if e.kind == "write-back-failed"]
    assert str(status) in event.message
    assert "sk" not in event.message.split()
    tool.answers = [404]
    done = write_back(Context(settings, ledger))
    assert (done.told, done.refused) == (2, 1)
    assert write_back(Context(settings, ledger)).told == 0
    ids = [body["id"] for _, _, body in tool.posts]
    assert len(ids) == 5  # the one that failed was sent again
    assert len(set(ids)) == 4


def killed(settings: Settings, when: str, tool: Tool) -> None:
    """Write back in a process that is killed with signal 9."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(settings.home), when],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    tool.kills = child if when == "before the answer" else None
    assert child.wait(120) == -signal.SIGKILL
    tool.kills = None


def test_a_process_killed_midway_tells_nobody_twice(tmp_path: Path, tool: Tool) -> None:
    settings, ledger = home(tmp_path / "home", f'webhook_url = "{tool.url}/hook"')
    ingest_rows(Context(settings, ledger), [{"prompt": "2+2?", "target": "4"}], source="desk")
    serves(ledger)
    killed(settings, "before the answer", tool)
    assert outcomes(ledger) == [("webhook", None, "begun")]
    assert write_back(Context(settings, ledger)).unknown == 1
    assert outcomes(ledger) == [("webhook", None, "unknown")]
    assert write_back(Context(settings, ledger)).told == 0
    assert len(tool.posts) == 1


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An MLflow store with a trace that has an expectation."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_store.read_bytes())
    before, where = mlflow.get_tracking_uri(), f"sqlite:///{file}"
    mlflow.set_tracking_uri(where)
    mlflow.create_experiment("chat", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("chat")
    with mlflow.start_span("chat") as span:
        span.set_inputs("Capital of Norway?")
        span.set_outputs("Bergen")
    mlflow.log_expectation(trace_id=span.trace_id, name="expected_response", value="Oslo")
    yield where
    mlflow.set_tracking_uri(before)


def test_a_trace_of_mlflow_gets_one_assessment_though_its_writer_is_killed(
    tmp_path: Path, store: str, tool: Tool
) -> None:
    settings, ledger = home(tmp_path / "home", "mlflow = true", f'mlflow_tracking_uri = "{store}"')
    ingest_paths(Context(settings, ledger), ["mlflow:chat"])
    serves(ledger)
    killed(settings, "before the outcome", tool)
    assert outcomes(ledger)[0][2] == "begun"
    assert write_back(Context(settings, ledger)).told == 1
    assert write_back(Context(settings, ledger)).told == 0
    (trace,) = mlflow.search_traces(return_type="list")
    (written,) = [a for a in trace.info.assessments if a.name == "melo.edit"]
    assert written.feedback.value == "serves"
    assert "Oslo" in (written.rationale or "")
    assert (
        ingest_paths(Context(settings, ledger), ["mlflow:chat"]).total("lines") == 0
    )  # no news to itself


def test_nobody_is_told_unless_it_is_set(tmp_path: Path, tool: Tool) -> None:
    settings, ledger = home(tmp_path / "home", "")
    ingest_rows(Context(settings, ledger), [langfuse(1, "2+2?", "4")], source="x", shape="langfuse")
    serves(ledger)
    assert write_back(Context(settings, ledger)).told == 0
    assert outcomes(ledger) == []
    on, _ = home(tmp_path / "home", LANGFUSE.format(tool.url))
    assert write_back(Context(on, ledger)).told == 1  # what served before it was set, too
