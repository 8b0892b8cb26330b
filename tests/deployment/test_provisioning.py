"""A server that is too busy for a moment is asked again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from deployment.provisioning import Patient


class Busy(ThreadingHTTPServer):
    """Answers 503 so many times, then 200; keeps what it was sent."""

    def __init__(self, times: int) -> None:
        self.left, self.sent = times, list[bytes]()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_PATCH(self) -> None:
        self.server.sent.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(503 if self.server.left > 0 else 200)
        self.server.left -= 1
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Busy]:
    server = Busy(request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("server", "seconds", "status", "asked"),
    [(2, 30.0, 200, 3), (99, 0.0, 503, 1)],
    indirect=["server"],
)
def test_busy_is_asked_again_with_the_same_words(server, seconds, status, asked) -> None:
    url = f"http://127.0.0.1:{server.server_port}/api"
    with httpx.Client(base_url=url, transport=Patient(seconds)) as client:
        assert client.patch("/work_pools/cpu", json={"limit": 1}).status_code == status
    assert server.sent == [b'{"limit":1}'] * asked
