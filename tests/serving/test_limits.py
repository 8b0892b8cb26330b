"""One client can't take the service from the others."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

import serving.server
from config import Settings, load
from melo_engine import Conversation
from serving import jobs
from serving.continuous import ContinuousBatch
from tests.serving.support import ANSWERS, EDITED, UNEDITED, Running, running, tuned, until

CHAT = "/v1/chat/completions"


def connect(server: Running) -> socket.socket:
    where = urlparse(server.url)
    return socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=30)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Running) -> None:
    with connect(server) as wire:
        wire.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n"
        )
        assert b" 413 " in wire.recv(4096)
    most = server.service.limits.max_body_bytes
    with server.client() as client:
        assert client.post("/v1/completions", content=b"x" * (most + 1)).status_code == 413

        def pieces():  # type: ignore[no-untyped-def]
            for _ in range(40):
                yield b" " * 65_536

        assert client.post("/v1/completions", content=pieces()).status_code in (413,)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{",
        b"",
    ],
)
def test_a_client_that_sends_too_slowly_is_sent_away(two_versions: Settings, sent: bytes) -> None:
    with running(tuned(two_versions, read_seconds=0.5)) as server, connect(server) as wire:
        wire.sendall(sent)
        got = b""
        while piece := wire.recv(4096):
            got += piece
        assert (b" 408 " in got) == bool(sent)
        assert server.ask(EDITED[0])["choices"][0]["text"] == "ada"


def test_slow_clients_do_not_keep_others_waiting(server: Running) -> None:
    wires = [connect(server) for _ in range(100)]
    try:
        for wire in wires:
            wire.sendall(b"POST /v1/completions HTTP/1.1\r\ncontent-length: 9\r\n")
        assert server.ask(EDITED[0])["choices"][0]["text"] == "ada"
    finally:
        for wire in wires:
            wire.close()


def test_a_full_queue_says_so_at_once(two_versions: Settings) -> None:
    with running(tuned(two_versions, queue=2, max_batch=1)) as server:
        service = server.service
        blocked = threading.Event()
        champion = service.versions.serving()["champion"]
        routes = champion.editor.routes

        def slow(*arguments):  # type: ignore[no-untyped-def]
            blocked.wait(30)
            return routes(*arguments)

        champion.editor.routes = slow  # type: ignore[method-assign]
        with ThreadPoolExecutor(8) as pool, server.client() as client:
            busy = pool.submit(client.post, "/v1/route", json={"input": EDITED[0]})
            until(lambda: service._batcher is not None and service._batcher._running == 1)
            until(lambda: service._batcher._rows_waiting == 0)  # type: ignore[union-attr]
            rest = [
                pool.submit(client.post, "/v1/completions", json={"prompt": EDITED[0]})
                for _ in range(6)
            ]
            until(lambda: sum(f.done() for f in rest) == 4)
            blocked.set()
            codes = sorted(f.result().status_code for f in rest)
        assert codes == [200, 200, 429, 429, 429, 429]
        assert busy.result().status_code == 200


def test_an_answer_that_takes_too_long_ends(two_versions: Settings) -> None:
    with running(tuned(two_versions, request_seconds=1e-6)) as server, server.client() as client:
        got = client.post("/v1/completions", json={"prompt": EDITED[0]})
        assert (got.status_code, got.json()["error"]["code"]) == (504, "too_late")


def test_who_leaves_a_stream_leaves_no_work_behind(server: Running) -> None:
    body = json.dumps({"prompt": UNEDITED, "stream": True, "n": 4}).encode()
    for _ in range(5):
        with connect(server) as wire:
            head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            head += f"content-length: {len(body)}\r\n\r\n"
            wire.sendall(head.encode() + body)
            wire.recv(10)
    batcher = server.service._batcher
    assert batcher is not None
    until(lambda: batcher.idle)
    assert server.ask(EDITED[0])["choices"][0]["text"] == "ada"


def test_who_hangs_up_on_a_whole_answer_leaves_no_work_behind(
    chat_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, rows = chat_server.service, []
    submit, counted = service.submit, service.metrics.registry.get_sample_value
    answers = counted("melo_answers_total", {"by": "backbone"})

    def spied(kind, loaded, given):  # type: ignore[no-untyped-def]
        rows.extend(given)
        return submit(kind, loaded, given)

    monkeypatch.setattr(service, "submit", spied)
    body = json.dumps({"messages": [{"role": "user", "content": "1 2 3"}], "n": 8}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with connect(chat_server) as wire:
        wire.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: any(row.tokens for row in rows))
    until(lambda: bool(rows) and all(row.finish for row in rows))
    assert {row.finish for row in rows} == {"cancelled"}
    gone = {"path": "/v1/chat/completions", "status": "499"}
    until(lambda: counted("melo_requests_total", gone) == 1)
    assert counted("melo_answers_total", {"by": "backbone"}) == answers


def test_an_answer_without_a_length_ends_when_its_time_is_over(
    chat_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ContinuousBatch.step

    def slow(batch: ContinuousBatch) -> None:
        time.sleep(0.4)
        real(batch)

    monkeypatch.setattr(ContinuousBatch, "step", slow)
    shutil.copytree(chat_home, tmp_path / "home")
    settings = tuned(load(tmp_path / "home"), auth="none", request_seconds=0.3)
    body = {"messages": [{"role": "user", "content": "1 2 3"}], "n": 8}
    with running(settings) as server, server.client() as client:
        got = client.post("/v1/chat/completions", json=body)
        assert got.status_code == 200
        assert {c["finish_reason"] for c in got.json()["choices"]} == {"length"}
        assert 0 < got.json()["usage"]["completion_tokens"] < 8 * 900
        late = client.post("/v1/chat/completions", json={**body, "max_tokens": 900})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "too_late")


def test_a_service_that_stops_tells_who_waits_too_long_to_come_back(
    chat_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(serving.server, "GRACE", 0.1)
    shutil.copytree(chat_home, tmp_path / "home")
    settings = tuned(load(tmp_path / "home"), auth="none", max_batch=16)
    question = [{"role": "user", "content": "1 2 3"}]
    body = {"messages": question, "n": 16, "max_tokens": 900, "ignore_eos": True}

    def streamed(server: Running, begun: threading.Event) -> str:
        with server.client() as client, client.stream("POST", CHAT, json=asked) as answer:
            lines = []
            for line in filter(None, answer.iter_lines()):
                begun.set()
                lines.append(line)
        return lines[-1]

    asked = {**body, "stream": True}
    begun = threading.Event()
    with running(settings) as server, ThreadPoolExecutor(2) as pool, server.client() as client:
        stream = pool.submit(streamed, server, begun)
        assert begun.wait(60)
        waiting = pool.submit(client.post, CHAT, json=body)
        batcher = server.service._batcher
        until(lambda: batcher is not None and batcher._rows_waiting == 16)
        server.server.should_exit = True
        refused, last = waiting.result(), stream.result()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
    assert int(refused.headers["retry-after"]) > 0
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_idle_connection_stays_open_longer_than_clients_keep_theirs(server: Running) -> None:
    kept = httpx.Limits().keepalive_expiry
    assert kept is not None
    assert server.server.config.timeout_keep_alive > kept


def test_one_question_that_breaks_does_not_break_its_neighbours(
    two_versions: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jobs.generate

    def breaks(loaded, rows, after_step):  # type: ignore[no-untyped-def]
        if any(row.prompt == UNEDITED[0] for row in rows):
            raise RuntimeError("no memory for this one")
        time.sleep(0.05)
        real(loaded, rows, after_step)

    monkeypatch.setattr(jobs, "generate", breaks)
    with running(two_versions) as server, ThreadPoolExecutor(9) as pool:
        prompts = [UNEDITED[0], *EDITED * 4] * 2

        def ask(prompt: str) -> int:
            with server.client() as client:
                return client.post("/v1/completions", json={"prompt": prompt}).status_code

        codes = list(pool.map(ask, prompts))
    assert [c for p, c in zip(prompts, codes, strict=True) if p == UNEDITED[0]] == [500, 500]
    assert {c for p, c in zip(prompts, codes, strict=True) if p != UNEDITED[0]} == {200}


def test_one_conversation_that_breaks_does_not_break_those_that_run_with_it(
    chat_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, real = ContinuousBatch.step, jobs.generate
    broken = Conversation.of([{"role": "user", "content": "1 2 3"}])

    def breaks(batch: ContinuousBatch) -> None:
        if any(row.prompt == broken for row in batch._places):
            raise RuntimeError("no memory for this one")
        time.sleep(0.01)
        step(batch)

    def breaks_alone(loaded, rows, after_step):  # type: ignore[no-untyped-def]
        if any(row.prompt == broken for row in rows):
            raise RuntimeError("no memory for this one")
        real(loaded, rows, after_step)

    monkeypatch.setattr(ContinuousBatch, "step", breaks)
    monkeypatch.setattr(jobs, "generate", breaks_alone)
    shutil.copytree(chat_home, tmp_path / "home")
    prompts = [*EDITED * 4, "1 2 3", *EDITED * 4, "1 2 3", *EDITED]
    with running(tuned(load(tmp_path / "home"), auth="none")) as server:

        def ask(prompt: str) -> tuple[int, str | None]:
            body = {"messages": [{"role": "user", "content": prompt}]}
            with server.client() as client:
                got = client.post("/v1/chat/completions", json=body)
            said = got.json()["choices"][0]["message"]["content"] if got.is_success else None
            return got.status_code, said

        with ThreadPoolExecutor(18) as pool:
            answers = list(pool.map(ask, prompts))
        until(lambda: server.service._batcher is not None and server.service._batcher.idle)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer == ((500, None) if prompt == "1 2 3" else (200, ANSWERS[prompt]))
