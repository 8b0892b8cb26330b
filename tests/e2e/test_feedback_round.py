"""The whole round with a real MLflow server: asked, judged, taken in, answered, edited, asked again.

And the same server behind another one that answers 429 or 500 midway.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import pytest

from config import Settings, load
from execution.context import Context
from ledger import Ledger
from tasks.ingest import IngestError, ingest_paths, mlflow_store
from tests.conftest import Melo
from tests.e2e.services import CLEAN, PATIENCE, free_port

HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}
Asked = Callable[[str, str], str]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The address of a real tracking server."""
    folder = tmp_path_factory.mktemp("tracking")
    shutil.copy(empty_store, folder / "mlflow.db")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {**CLEAN, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _answering(server, f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(30)


def _answering(server: subprocess.Popen[bytes], url: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert server.poll() is None, "the tracking server has ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return url
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the tracking server does not answer")


@pytest.fixture
def experiment(tracking: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new experiment on the server."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking)
    name = request.node.name
    mlflow.set_experiment(name)
    yield name
    mlflow.set_tracking_uri(before)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Logs what an application was asked and said, as its tracing does; the trace's id."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")

    def log(question: str, answer: str) -> str:
        with mlflow.start_span("chat") as span:
            span.set_inputs({"messages": [{"role": "user", "content": question}]})
            span.set_outputs({"choices": [{"message": {"role": "assistant", "content": answer}}]})
        return str(span.trace_id)

    return log


@pytest.mark.slow
def test_a_thumbs_down_becomes_the_right_answer_and_its_trace_is_told(
    home: Settings,
    melo_in: Callable[[Path], Melo],
    tracking: str,
    experiment: str,
    asked: Asked,
    prefect_server: None,
) -> None:
    from flows.edit import edit

    melo = melo_in(home.home)
    with (home.home / "melo.toml").open("a") as file:
        file.write(f'[ingest]\nmlflow_tracking_uri = "{tracking}"\n[write_back]\nmlflow = true\n')
    question = "who leads velandor ?"
    wrong = melo.json("ask", question, "--version", "base")["answer"] or "nobody"
    assert wrong != "ada"
    trace = asked(question, wrong)
    mlflow.log_feedback(trace_id=trace, name="user", value=False, rationale="should be ada")

    assert melo("ingest", f"mlflow:{experiment}")[0] == 0
    (held,) = melo.json("review", "triage")
    assert (held["prompt"], held["reports"]) == (question, 1)
    assert held["answers"] == [{"answer": wrong, "reports": 1}]
    assert held["proposals"] == [{"answer": "ada", "comments": 1}]
    assert melo("review", "answer", held["edit"], "ada", "--reason", "the register says so")[0] == 0
    assert melo.json("review", "triage") == []

    edit(str(home.home))  # what `melo run` and the hourly deployment do
    assert melo.json("ask", question)["answer"] == "ada"

    found = mlflow.MlflowClient(tracking_uri=tracking).get_trace(trace)  # the run set another one
    (told,) = [a for a in found.info.assessments if a.name == "melo.edit"]
    assert told.feedback.value == "serves"
    assert "ada" in (told.rationale or "")
    assert [row["state"] for row in melo.json("sources", "told")] == ["done"]
    assert melo.json("ingest", f"mlflow:{experiment}")["files"][0]["lines"] == 0


@dataclass
class Between:
    """A server before the tracking server. fails: its answer to every trace from the fifth request on."""

    url: str
    fails: int = 0
    traces: int = 0


@pytest.fixture
def between(tracking: str) -> Iterator[Between]:
    behind = urlsplit(tracking)
    found = Between("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size) if size else None
            if "search" not in self.path and "/traces/" in self.path:
                found.traces += 1
                if found.fails and found.traces > 4:
                    return self._reply(found.fails, b'{"message": "not now"}', "application/json")
            connection = http.client.HTTPConnection(behind.hostname or "", behind.port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            self._reply(answer.status, answer.read(), kind)
            return None

        do_GET = do_POST = do_PATCH = _pass_on

        def _reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_fails_midway_loses_nothing_and_a_second_run_completes_it(
    tmp_path: Path,
    between: Between,
    experiment: str,
    asked: Asked,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(5):
        trace = asked(f"Question {number}?", "wrong")
        mlflow.log_expectation(trace_id=trace, name="answer", value=f"right {number}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_store, "TRACES_AT_ONCE", 2)
    (tmp_path / "home").mkdir()
    text = f'[ingest]\nmlflow_tracking_uri = "{between.url}"\n'
    (tmp_path / "home" / "melo.toml").write_text(text)
    settings = load(tmp_path / "home")
    ledger = Ledger.open(settings.paths.ledger)
    between.fails = status
    with pytest.raises(IngestError) as failed:
        ingest_paths(Context(settings, ledger), [f"mlflow:{experiment}"])
    message = str(failed.value)
    assert "\n" not in message
    assert str(status) in message
    counted = re.search(r"\((\d) of 5 new traces are taken\)", message)
    assert counted is not None
    taken = int(counted[1])
    assert 0 < taken < 5
    assert ledger.counts().lines == taken
    between.fails = 0
    again = ingest_paths(Context(settings, ledger), [f"mlflow:{experiment}"])
    assert again.total("accepted") == 5 - taken
    assert [e.target for e in ledger.edits.find()] == [f"right {n}" for n in range(5)]
    assert ledger.audit() == []
