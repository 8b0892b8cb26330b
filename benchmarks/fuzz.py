"""Thousands of requests that no sane client sends: nothing breaks, hangs or grows.

A request is a valid one with a few things made wrong: values of other types, sizes and alphabets,
fields left out or invented, names with path tricks, bodies that are no JSON, odd headers. Which
ones depends on the seed alone. The server is `melo serve` in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.gate import read_material
from benchmarks.odd_chats import odd_chat
from benchmarks.progress import Report, silent
from benchmarks.serve import edited_version, make_home, questions
from benchmarks.servers import melo_serve
from melo_engine import Backbone

HANG = 60.0  # seconds without an answer
AT_ONCE = 8
ALLOWED_GROWTH_MB = 50.0
TEXTS = (
    "",
    " ",
    "\x00",
    "\n" * 50,
    "who leads",
    "a" * 7999,
    "a" * 8001,
    "ünï çødé",
    "日本語の質問",
    "👩‍👩‍👧‍👦" * 20,
    "\u202e\u200b",
    "'; DROP TABLE edits; --",
    "{}",
    "<script>",
    "%s%n",
    "../../etc/passwd",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    63,
    65,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    0.5,
    -0.0,
    1e308,
    [],
    {},
    [None],
    [[]],
    {"a": {"b": []}},
    ["who"] * 70,
    *TEXTS,
)
NAMES = (
    "champion",
    "candidate",
    "previous",
    "base",
    "..",
    "../..",
    "a/b",
    "%2e%2e%2f",
    "f" * 32,
    "0" * 64,
    "con",
    "\x00",
    "models:/x",
    "file:///etc/passwd",
    "x" * 300,
    "",
    "ß",
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {},
    {},
    {"content-type": "text/plain"},
    {"content-type": "application/xml"},
    {"authorization": "Bearer x"},
    {"accept": "image/png"},
    {"expect": "nonsense"},
    {"content-type": "application/json; charset=utf-16"},
    {"x-long": "y" * 4000},
)
METHODS = ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
FIELDS: dict[str, dict[str, Any]] = {
    "/v1/completions": {
        "prompt": "who",
        "model": "",
        "max_tokens": 4,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["a"],
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "x",
        "echo": False,
        "logprobs": None,
        "best_of": 1,
        "logit_bias": {},
    },
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "who"}],
        "model": "base",
        "max_tokens": 4,
        "max_completion_tokens": 3,
        "stream": False,
        "n": 1,
        "temperature": 1.0,
    },
    "/v1/classify": {"input": "who", "model": ""},
    "/v1/route": {"input": ["who", "what"], "model": "champion"},
    "/feedback": {
        "answer": "cmpl-1",
        "index": 0,
        "prompt": "who",
        "target": "x",
        "subject": "y",
        "rephrases": ["a"],
        "comment": "z",
    },
}
NEEDED = {"prompt", "messages", "input", "target"}


@dataclass(frozen=True)
class Odd:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


def odd_request(
    chance: random.Random, prompts: tuple[str, ...] = ("who",), *, chats: float = 0.35
) -> Odd:
    """A request with something wrong, or by chance nothing. chats: share that is conversations."""
    if chance.random() < chats:
        path, body = odd_chat(chance, prompts)
        raw = json.dumps(body).encode()
        return Odd("POST", path, {"content-type": "application/json"}, raw)
    if chance.random() < 0.12:
        path = chance.choice(
            (
                "/v1/models",
                "/v1/models/" + _quoted(chance.choice(NAMES)),
                "/healthz",
                "/readyz",
                "/metrics",
                "/docs",
                "/openapi.json",
                "/" + _quoted(chance.choice(TEXTS)[:200]),
                "/admin/reload",
                "//",
                "/v1/completions/",
            )
        )
        return Odd(chance.choice(("GET", "POST", *METHODS)), path, chance.choice(HEADERS), b"")
    path = chance.choice(list(FIELDS))
    method = chance.choice(METHODS) if chance.random() < 0.04 else "POST"
    headers = {"content-type": "application/json", **chance.choice(HEADERS)}
    return Odd(method, path, headers, _body(chance, path, prompts))


def _body(chance: random.Random, path: str, prompts: tuple[str, ...]) -> bytes:
    fields = dict(FIELDS[path])
    for name in list(fields):
        if name not in NEEDED and chance.random() < 0.6:
            del fields[name]
    if "prompt" in fields:
        fields["prompt"] = chance.choice(prompts)
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        name = chance.choice([*FIELDS[path], "invented"])
        fields[name] = chance.choice(NAMES if name == "model" else VALUES)
    if chance.random() < 0.05:
        fields.pop(chance.choice(list(fields)), None)
    raw = json.dumps(fields).encode()
    kind = chance.random()
    if kind < 0.03:
        return raw[: chance.randrange(len(raw))]
    if kind < 0.05:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
    if kind < 0.06:
        return b"[" * chance.randrange(100_000)
    if kind < 0.07:
        return raw.replace(b'"who"', b'"\\ud800"')
    if kind < 0.08:
        return raw.replace(b"1", b"NaN")
    if kind < 0.085:
        return b" " * 1_100_000
    return raw


def bench(
    requests: int,
    *,
    backbone_path: Path | str,
    cache: Path,
    edits: int = 20,
    chats: float = 0.35,
    seed: int = 0,
    progress: Report = silent,
) -> dict[str, Any]:
    """Send them all; statuses, the slowest answer, memory before and after. chats: share of them."""
    backbone = Backbone.open(backbone_path)
    material = read_material((), seed)
    version = edited_version(backbone, material.requests[:edits], cache, progress)
    prompts = tuple(questions(version, material.templates, material.names, seed))
    del backbone
    with tempfile.TemporaryDirectory() as scratch:
        progress("starting the server", 0, requests)
        home = make_home(
            Path(scratch) / "home", Backbone.open(backbone_path), backbone_path, version
        )
        with melo_serve(home, "--no-keys") as url:
            odd = partial(odd_request, prompts=prompts, chats=chats)
            return asyncio.run(_send_all(url, requests, odd, prompts[0], seed, progress))


async def _send_all(
    url: str,
    requests: int,
    make_request: Callable[[random.Random], Odd],
    sane_prompt: str,
    seed: int,
    say: Report,
) -> dict[str, Any]:
    process = _listener(int(url.rsplit(":", 1)[1]))
    statuses: Counter[str] = Counter()
    paths: Counter[str] = Counter()
    worst, problems = 0.0, []
    memory: list[float] = []
    numbers = iter(range(requests))
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=HANG, limits=limits) as client:

        async def send() -> None:
            nonlocal worst
            for number in numbers:
                odd = make_request(random.Random(f"{seed}-{number}"))
                began = time.perf_counter()
                try:
                    got = await client.request(
                        odd.method, odd.path, headers=odd.headers, content=odd.content
                    )
                    statuses[str(got.status_code)] += 1
                    paths[odd.path if odd.path in FIELDS or "resp" in odd.path else "other"] += 1
                    bad = got.status_code >= 500
                except httpx.TimeoutException:
                    statuses["hang"] += 1
                    bad = True
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                    bad = not isinstance(error, httpx.WriteError | httpx.ReadError)
                worst = max(worst, time.perf_counter() - began)
                if bad:
                    problems.append(f"{number}: {odd.method} {odd.path} {odd.content[:200]!r}")
                if number % max(1, requests // 100) == 0:
                    memory.append(process.memory_info().rss / 2**20)
                    say("asking nonsense", number, requests)

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        sane = await client.post("/v1/completions", json={"prompt": sane_prompt, "max_tokens": 4})
    memory.append(process.memory_info().rss / 2**20)
    early = max(memory[: max(1, len(memory) // 5)])
    return {
        "requests": requests,
        "server_errors": sum(n for s, n in statuses.items() if s.isdigit() and s >= "500"),
        "hangs": statuses["hang"],
        "statuses": dict(sorted(statuses.items())),
        "paths": dict(sorted(paths.items())),
        "slowest_seconds": round(worst, 2),
        "memory_mb": {"first_fifth": round(early, 1), "end": round(memory[-1], 1)},
        "memory_growth_mb": round(memory[-1] - early, 1),
        "still_answers": sane.status_code == 200,
        "problems": problems[:20],
        "seed": seed,
    }


def _listener(port: int) -> psutil.Process:
    """The process that listens on a port."""
    for process in psutil.Process().children(recursive=True):
        if any(c.laddr and c.laddr.port == port for c in process.net_connections()):
            return process
    raise RuntimeError(f"nobody listens on port {port}.")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="%/")
