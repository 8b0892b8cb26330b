"""What keeps one client from taking the service from the others.

size    a body over the limit: 413, before it is read
type    a body is JSON whatever its client calls it; of a page in a browser that says so only, else 415
page    without keys, a page whose own host's name has come to mean this machine (DNS rebinding): 403
time    a client that sends too slowly: 408; that reads too slowly: its connection is closed
name    each answer bears the id of its request, the client's own where it sent one
rate    more requests a minute than a key may have: 429, with when to come back
"""

from __future__ import annotations

import asyncio
import email.message
import ipaddress
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import JSONResponse

from config.sections import ServeSettings
from serving.errors import RequestRefused

_PLAIN = re.compile(rb"[\w.:-]{1,128}")
ASGI = Callable[..., Any]
log = logging.getLogger("melo.serving")


class Rate:
    """A bucket of tokens for each key: a minute's worth at once, then as they drip in."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: tokens left, when

    def spend(self, key: str) -> None:
        """Take one. Raises RequestRefused (429)."""
        if self.per_minute is None:
            return
        now = self.clock()
        left, then = self._buckets.get(key, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - then) * self.per_minute / 60)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self.per_minute)
            raise RequestRefused(
                429,
                "rate_limited",
                f"this key may ask {self.per_minute} times a minute; come back in {wait} s.",
                retry_after=wait,
            )
        self._buckets[key] = (left - 1, now)


class RequestLimits:
    """ASGI middleware: reads the body within its limits, then hands it on in one piece.

    observe: called with the route's template, the status and the seconds of each request.
    """

    def __init__(
        self, app: ASGI, limits: ServeSettings, observe: Callable[[str, int, float], None]
    ) -> None:
        self.app, self.limits, self.observe = app, limits, observe

    async def __call__(self, scope: Any, receive: ASGI, send: ASGI) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        names = _request_id(scope)

        async def patient_send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *names]}
            async with asyncio.timeout(self.limits.request_seconds):
                await send(message)

        try:
            body = await self._body(scope, receive)
            if self.limits.auth == "none":
                _refuse_rebound(scope, self.limits.cors_origins)
            if body:
                scope = _read_as_json(scope)
            await self.app(scope, _replay(body, receive), patient_send)
        except RequestRefused as refused:
            await refusal(refused)(scope, receive, patient_send)
        except TimeoutError:
            status = status or 408
            log.warning("a client read too slowly; its connection is closed")
            raise ConnectionAbortedError("a client read too slowly") from None
        except Exception as error:
            # The type only: a message may quote what was asked.
            log.error("a request failed: %s", type(error).__name__)
            log.debug("the failure", exc_info=True)
            if status:  # an answer is on its way: it can only be cut off
                raise ConnectionAbortedError(type(error).__name__) from None
            failed = RequestRefused(500, "internal", "the service failed at this request.")
            await refusal(failed)(scope, receive, patient_send)
        finally:
            route = scope.get("route")
            self.observe(getattr(route, "path", "other"), status, time.perf_counter() - began)

    async def _body(self, scope: Any, receive: ASGI) -> bytes | None:
        """The whole body; None where the client has gone. Raises RequestRefused."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:12]) > self.limits.max_body_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.limits.max_body_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise RequestRefused(
                408,
                "too_slow",
                f"the request was not complete after {self.limits.read_seconds:g} s; send it faster.",
            ) from None

    def _too_large(self) -> RequestRefused:
        most = self.limits.max_body_bytes
        return RequestRefused(
            413, "too_large", f"the body is larger than {most:,} bytes; send less."
        )


def _read_as_json(scope: Any) -> Any:
    """The scope with JSON as the type of its body, which `curl -d` calls a form and others nothing.

    Pages of other origins may send any other type without being asked first (CORS): theirs must say
    JSON, so that no page reports or asks where no key is needed. Raises RequestRefused (415).
    """
    headers = dict(scope["headers"])
    sent = email.message.Message()
    sent["content-type"] = headers.get(b"content-type", b"text/plain").decode("latin-1")
    subtype = sent.get_content_subtype()
    if sent.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    ):
        return scope
    if b"origin" in headers:
        raise RequestRefused(
            415,
            "not_json",
            "a page in a browser must send its body with the header Content-Type: application/json.",
        )
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}


def _refuse_rebound(scope: Any, allowed: Sequence[str]) -> None:
    """Refuse a page whose origin is the very host that it asks, where that is not this machine's name.

    A browser takes the two for one and asks without CORS. Raises RequestRefused (403).
    """
    headers = dict(scope["headers"])
    origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"")
    scheme, _, page = origin.lower().partition("://")
    if scheme not in ("http", "https") or page != host.decode("latin-1").lower():
        return
    name = _host_of(page)
    local = is_loopback(name) or name.endswith(".localhost")
    if not (local or origin in allowed or "*" in allowed):
        raise RequestRefused(
            403,
            "foreign_page",
            "without keys only pages of this machine may ask; name the page's origin in "
            "serve.cors_origins, or serve with keys.",
        )


def _host_of(authority: str) -> str:
    """The host of `host:port`; of an IPv6 address without its brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _request_id(scope: Any) -> list[tuple[bytes, bytes]]:
    """The headers with a request's id: the one that its client sent, where that is plain text."""
    sent = dict(scope["headers"]).get(b"x-request-id", b"")
    name = sent if _PLAIN.fullmatch(sent) else f"req-{secrets.token_hex(12)}".encode()
    return [(b"x-request-id", name), (b"request-id", name)]


def error_body(refused: RequestRefused) -> dict[str, Any]:
    """A refusal as OpenAI's clients read it."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
        refused.status, kind
    )
    return {
        "error": {
            "message": str(refused),
            "type": kind,
            "param": refused.param,
            "code": refused.code,
        }
    }


def refusal(refused: RequestRefused) -> JSONResponse:
    """The answer: when to come back, how to show a key, and an end to a connection that was misused."""
    headers = {}
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refused.status in (408, 413):
        headers["connection"] = "close"
    return JSONResponse(error_body(refused), refused.status, headers)


def _replay(body: bytes | None, receive: ASGI) -> ASGI:
    """A `receive` that gives the whole body first."""
    delivered = False

    async def again() -> Any:
        nonlocal delivered
        if body is None:
            return {"type": "http.disconnect"}
        if not delivered:
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again
