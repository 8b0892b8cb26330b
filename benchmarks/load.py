"""Clients of a server, over plain sockets: each asks its next question once it is answered, or all ask
at set moments.

What they see of one server is a `Load`. They must not take the servers' time, so nothing of an answer is
read but when its first text came, how many tokens it has and whether an edit gave it.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Load:
    """What the clients of one server saw. Times in seconds."""

    answers: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    tokens: int = 0
    hits: int = 0
    failed: int = 0

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens of answers a second; edits may make answers longer."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def first_token(self) -> float | None:
        """Median time to the first text, where answers were streamed."""
        return statistics.median(self.first_tokens) if self.first_tokens else None

    def add(self, part: Load) -> None:
        """What was seen in another round."""
        self.answers += part.answers
        self.seconds += part.seconds
        self.latencies += part.latencies
        self.first_tokens += part.first_tokens
        self.tokens += part.tokens
        self.hits += part.hits
        self.failed += part.failed

    def quantile_ms(self, share: float) -> float | None:
        """Of the latencies, in milliseconds."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    def figures(self) -> dict[str, Any]:
        """What a record holds of it."""
        first = self.first_token
        return {
            "answers_per_second": round(self.throughput, 2),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "p50_ms": self.quantile_ms(0.5),
            "p95_ms": self.quantile_ms(0.95),
            "first_token_p50_ms": None if first is None else round(1000 * first, 1),
            "tokens_per_answer": round(self.tokens / max(1, self.answers), 2),
            "hits": round(self.hits / max(1, self.answers), 3),
            "answers": self.answers,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Target:
    """One server: where, and how a question is put to it and its answer read.

    read: tokens and whether an edit answered, of a whole answer or of the events of a stream.
    """

    name: str
    url: str
    path: str
    key: str
    body: Callable[[Any], bytes]
    read: Callable[[Any], tuple[int, bool]]


async def put_load(
    target: Target, prompts: Sequence[Any], clients: int, seconds: float, seed: int
) -> Load:
    """Let clients ask for so many seconds; each asks its next question once it is answered."""
    load_seen = Load()
    began = time.perf_counter()
    end = began + seconds
    await asyncio.gather(
        *(
            _client(target, prompts, random.Random(seed * 1000 + i), end, load_seen)
            for i in range(clients)
        )
    )
    load_seen.seconds = time.perf_counter() - began
    return load_seen


async def put_paced_load(
    target: Target, prompts: Sequence[Any], rate: float, count: int, seed: int
) -> Load:
    """Ask `count` questions, `rate` a second, at random moments (Poisson): the same ones for one seed.

    Nobody waits for an answer before asking, so every server sees the same load at the same moments,
    and its times to the first text can be compared with another's.
    """
    chooser = random.Random(seed)
    load_seen = Load()
    began = time.perf_counter()
    at, asked = 0.0, []
    for _ in range(count):
        at += chooser.expovariate(rate)
        asked.append((at, chooser.choice(prompts)))

    async def ask(at: float, prompt: Any) -> None:
        await asyncio.sleep(began + at - time.perf_counter())
        async with _Connection(target, load_seen) as connection:
            await connection.ask(prompt)

    await asyncio.gather(*(ask(at, prompt) for at, prompt in asked))
    load_seen.seconds = time.perf_counter() - began
    return load_seen


async def _client(
    target: Target, prompts: Sequence[Any], chooser: random.Random, end: float, seen: Load
) -> None:
    async with _Connection(target, seen) as connection:
        while time.perf_counter() < end:
            await connection.ask(chooser.choice(prompts))


class _Connection:
    """One connection, kept open; what it sees is added to `seen`."""

    def __init__(self, target: Target, seen: Load) -> None:
        self.target, self.seen = target, seen
        self.host, port = target.url.removeprefix("http://").split(":")
        self.port = int(port)

    async def __aenter__(self) -> _Connection:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self, prompt: Any) -> None:
        """Ask a question and wait until its answer has ended."""
        target, seen = self.target, self.seen
        body = target.body(prompt)
        head = (
            f"POST {target.path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
            f"authorization: Bearer {target.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self.writer.write(head.encode() + body)
        status, content, first = await _response(self.reader)
        broke = isinstance(content, list) and any("error" in event for event in content)
        if status != 200 or broke:
            seen.failed += 1
            return
        seen.latencies.append(time.perf_counter() - began)
        if first is not None:
            seen.first_tokens.append(first - began)
        tokens, hit = target.read(content)
        seen.answers += 1
        seen.tokens += tokens
        seen.hits += hit


async def _response(reader: asyncio.StreamReader) -> tuple[int, Any, float | None]:
    """Status, content, and when the first text of a stream came."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    if "transfer-encoding: chunked" in head:
        return status, *await _events(reader)
    length = next(
        int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")
    )
    content = await reader.readexactly(length)
    return status, json.loads(content) if status == 200 else None, None


async def _events(reader: asyncio.StreamReader) -> tuple[list[Any], float | None]:
    """The events of a stream in chunks, and when the first one came that had text."""
    events: list[Any] = []
    first: float | None = None
    rest = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        rest += (await reader.readexactly(size + 2))[:-2]
        *whole, rest = rest.split(b"\n\n")
        for line in whole:
            if line.startswith(b"data: {"):
                events.append(json.loads(line.removeprefix(b"data: ")))
                if first is None and _has_text(events[-1]):
                    first = time.perf_counter()
    await reader.readuntil(b"\r\n")
    return events, first


def _has_text(event: Any) -> bool:
    return any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or ())
