"""Run the application: one process, one event loop, connections that have to keep moving."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.app import create_app
from serving.errors import CanNotServe
from serving.limits import is_loopback
from serving.service import AnsweringService

GRACE = 15.0  # seconds for answers on their way when the service stops; `melo down` waits for 20
KEEP_ALIVE = 125  # seconds for an idle connection, which clients and proxies are to end first
LAST_WORDS = 2  # seconds to tell the others to come back


class PatientProtocol(H11Protocol):
    """HTTP/1.1 whose clients have a limited time to send the head of a request.

    uvicorn waits for a head without end; a thousand clients that never finish one would hold a
    thousand connections.
    """

    seconds = 10.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The first head is due."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that is complete is no longer due; a byte of one that is not sets no new time."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport is None or self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            return
        begun = bool(self.conn.trailing_data[0]) and self.conn.our_state is h11.IDLE
        if begun:
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
        self.transport.close()


class Server(uvicorn.Server):
    """Says where it listens, and ends in time. url: known once it listens."""

    url = ""

    def __init__(self, config: uvicorn.Config, service: AnsweringService) -> None:
        super().__init__(config)
        self.service = service

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then say so; questions are refused with 503 until a version is open."""
        await super().startup(sockets)
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(f"listening on {self.url}", flush=True)

    async def shutdown(self, sockets: Any = None) -> None:
        """Wait for the answers on their way; those that take too long are refused, not cut off."""
        timer = asyncio.get_running_loop().call_later(GRACE, self.service.refuse_unanswered)
        await super().shutdown(sockets)
        timer.cancel()


def serve(service: AnsweringService, *, keys_later: bool = False) -> None:
    """Serve until a signal. Raises CanNotServe, and what kept the backbone from opening.

    keys_later: start though no key is valid; a key that is made later is let in at once.
    """
    build(service, keys_later=keys_later).run()
    if service.failure is not None:
        raise service.failure


def build(service: AnsweringService, *, keys_later: bool = False) -> Server:
    """The server, not yet listening. Raises CanNotServe where keys are missing."""
    limits = service.limits
    if limits.auth == "none" and not is_loopback(limits.host):
        raise CanNotServe(
            f"serve.auth is none and serve.host is {limits.host}: without keys the service listens "
            "on loopback only. Make a key with `melo keys add NAME`, or set serve.host to 127.0.0.1."
        )
    no_key = not any(key.valid for key in service.keys.entries())
    if limits.auth == "keys" and no_key and not keys_later:
        raise CanNotServe(
            "there is no key yet. Make one with `melo keys add NAME`, or set serve.auth to none "
            "to serve without keys on loopback."
        )

    def failed() -> None:
        server.should_exit = True

    protocol = type("Protocol", (PatientProtocol,), {"seconds": limits.read_seconds})
    config = uvicorn.Config(
        create_app(service, failed=failed),
        host=limits.host,
        port=limits.port,
        http=protocol,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(GRACE) + LAST_WORDS,
        backlog=1024,
    )
    server = Server(config, service)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return server
