"""What a service with edits costs, against the same without, and against MLflow's own server.

    home with edits ──► melo serve          ┐  32 clients over loopback, each asks again when it is
    home without    ──► melo serve          ├  answered; half of the questions hit an edit;
    same version    ──► mlflow models serve ┘  in turn, round after round; ratios within a round

Every server is a process of its own, started as a user starts it, with one key and all defaults.
How long one takes to be there again after a kill is measured by `restart`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engine import product_editor
from benchmarks.gate import read_material
from benchmarks.restart import restarts
from benchmarks.servers import melo_serve, mlflow_serve
from config import Settings, load
from melo_engine import Backbone, EditRequest, Version
from melo_engine.near_misses import template_of
from melo_engine.projection import SCHEME
from registry.store import Registry
from serving.keys import KeyStore
from tasks.gate.suites.wordings import swap
from tasks.register import register
from tasks.versions import open_ledger, save_version

Progress = Callable[[str, int, int], None]
TOML = '[backbone]\npath = {path}\ntask = "{task}"\n'


@dataclass
class Load:
    """What the clients of one server saw."""

    answers: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
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


@dataclass(frozen=True)
class Target:
    """One server: where, and how a question is put to it and its answer read."""

    name: str
    url: str
    path: str
    key: str
    body: Callable[[str], bytes]
    read: Callable[[Any], tuple[int, bool]]  # tokens, whether an edit answered


def bench(
    *,
    edits: int = 200,
    clients: int = 32,
    seconds: float = 5.0,
    rounds: int = 5,
    data: Sequence[Path] = (),
    backbone_path: Path | str,
    cache: Path,
    seed: int = 0,
    with_mlflow: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The record that `melo bench serve` prints. seconds: of each server in each round."""
    say = progress or (lambda text, done, total: None)
    backbone = Backbone.open(backbone_path)
    material = read_material(data, seed)
    version = edited_version(backbone, material.requests[:edits], cache, progress)
    prompts = questions(version, material.templates, material.names, seed)
    with tempfile.TemporaryDirectory() as scratch:
        say("starting the servers", 0, 3)
        edited = make_home(Path(scratch) / "edited", backbone, backbone_path, version)
        bare = make_home(Path(scratch) / "bare", backbone, backbone_path, None)
        starts = restarts(edited, backbone_path, version.id, say)
        with melo_serve(edited) as ours, melo_serve(bare) as base:
            targets = [_ours("edited", edited, ours), _ours("bare", bare, base)]
            loads = {name: Load() for name in ("edited", "bare", "mlflow")}
            ratios: list[float] = []
            token_ratios: list[float] = []
            mlflow_ratios: list[float] = []
            with mlflow_serve(edited, backbone, with_mlflow) as other:
                if other is not None:
                    targets.append(_mlflow(other))
                for target in targets:  # warm up
                    asyncio.run(put_load(target, prompts, clients, min(2.0, seconds), seed))
                for turn in range(rounds):
                    seen: dict[str, Load] = {}
                    for target in targets if turn % 2 else targets[::-1]:
                        say(f"asking: {target.name}", turn, rounds)
                        load_seen = asyncio.run(
                            put_load(target, prompts, clients, seconds, seed + turn)
                        )
                        seen[target.name] = load_seen
                        _add(loads[target.name], load_seen)
                    mine, its = seen["edited"], seen["bare"]
                    ratios.append(mine.throughput / its.throughput)
                    token_ratios.append(mine.tokens_per_second / its.tokens_per_second)
                    if "mlflow" in seen:
                        mlflow_ratios.append(seen["edited"].throughput / seen["mlflow"].throughput)
    ours_seen = loads["edited"]
    return {
        "throughput_ratio": round(statistics.median(ratios), 3),
        "token_throughput_ratio": round(statistics.median(token_ratios), 3),
        "mlflow_ratio": round(statistics.median(mlflow_ratios), 2) if mlflow_ratios else None,
        "p50_ms": _quantile(ours_seen, 0.5),
        "p95_ms": _quantile(ours_seen, 0.95),
        "throughput_ratios": [round(r, 3) for r in ratios],
        "token_throughput_ratios": [round(r, 3) for r in token_ratios],
        "mlflow_ratios": [round(r, 2) for r in mlflow_ratios],
        "servers": {
            name: {
                "answers_per_second": round(load_seen.throughput, 1),
                "p50_ms": _quantile(load_seen, 0.5),
                "p95_ms": _quantile(load_seen, 0.95),
                "tokens_per_answer": round(load_seen.tokens / max(1, load_seen.answers), 2),
                "hits": round(load_seen.hits / max(1, load_seen.answers), 3),
                "failed": load_seen.failed,
            }
            for name, load_seen in loads.items()
            if load_seen.answers
        },
        **starts,
        "clients": clients,
        "edits": len(version),
        "backbone": backbone.name,
        "data": [p.name for p in data] or "made up",
        "device": backbone.device.type,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }


def edited_version(
    backbone: Backbone, requests: Sequence[EditRequest], cache: Path, progress: Progress | None
) -> Version:
    """A version with these edits, trained once and kept."""
    cache.mkdir(parents=True, exist_ok=True)
    name = f"{SCHEME}-{backbone.weights_hash[:12]}-{len(requests)}-{requests[-1].id}"
    folder = cache / "serve" / name
    if (folder / "manifest.json").exists():
        return Version.load(folder, backbone)
    editor = product_editor(backbone, cache)
    editor.edit(requests, progress=progress)
    editor.save(folder)
    return editor.version


def questions(
    version: Version, templates: Sequence[str], names: Sequence[str], seed: int
) -> list[str]:
    """Half of them hit an edit, half ask the same of names that no edit has."""
    chooser = random.Random(seed)
    hits = [edit.request.question for edit in version.edits.values()]
    wordings = list(templates) or [
        t for e in version.edits.values()
        if (t := template_of(e.request.question, e.request.subject or ""))
    ]  # fmt: skip
    misses = [swap(chooser.choice(wordings), name) for name in names[: len(hits)]]
    return [*hits, *misses[: len(hits)]]


def make_home(
    folder: Path, backbone: Backbone, path: Path | str, version: Version | None
) -> Settings:
    """A home whose champion is this version, as a passed gate leaves it; none: without a champion."""
    folder.mkdir(parents=True)
    absolute = str(Path(path).absolute()) if Path(path).exists() else str(path)
    (folder / "melo.toml").write_text(TOML.format(path=json.dumps(absolute), task=backbone.task))
    settings = load(folder)
    KeyStore(settings.paths.keys).add("bench", ["ask", "report", "admin"])
    if version is not None:
        make_champion(settings, backbone, version)
    return settings


def make_champion(settings: Settings, backbone: Backbone, version: Version) -> str:
    """Register a version as one that passed and point the champion's alias at it; its number."""
    save_version(settings, version)
    with open_ledger(settings) as ledger:
        ledger.record_version(version.id, parent=None, job_id=None, hash=version.id)
        ledger.record_verdict(version.id, passed=True, reason="for a benchmark")
        number = register(settings, ledger, version.id)
    assert number is not None
    registry = Registry(settings)
    registry.set_alias(registry.name_for(backbone), "champion", number)
    return number


async def put_load(
    target: Target, prompts: Sequence[str], clients: int, seconds: float, seed: int
) -> Load:
    """Let clients ask for so many seconds; each asks its next question once it is answered."""
    load_seen = Load()
    began = time.perf_counter()
    end = began + seconds
    await asyncio.gather(
        *(_client(target, prompts, random.Random(seed * 1000 + i), end, load_seen)
          for i in range(clients))
    )  # fmt: skip
    load_seen.seconds = time.perf_counter() - began
    return load_seen


async def _client(
    target: Target, prompts: Sequence[str], chooser: random.Random, end: float, seen: Load
) -> None:
    """One connection, kept open. Plain sockets: the clients must not take the servers' time."""
    host, port = target.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {target.path} HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {target.key}"
        "\r\ncontent-type: application/json\r\ncontent-length: "
    )
    try:
        while time.perf_counter() < end:
            body = target.body(chooser.choice(prompts))
            began = time.perf_counter()
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            status, content = await _response(reader)
            if status != 200:
                seen.failed += 1
                continue
            seen.latencies.append(time.perf_counter() - began)
            tokens, hit = target.read(json.loads(content))
            seen.answers += 1
            seen.tokens += tokens
            seen.hits += hit
    finally:
        writer.close()


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    length = next(
        int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")
    )
    return status, await reader.readexactly(length)


def _ours(name: str, settings: Settings, url: str) -> Target:
    _, key = KeyStore(settings.paths.keys).add(name, ["ask"])

    def read(content: Any) -> tuple[int, bool]:
        hit = content["choices"][0]["melo"]["edit"] is not None
        return content["usage"]["completion_tokens"], hit

    return Target(
        name, url, "/v1/completions", key, lambda p: json.dumps({"prompt": p}).encode(), read
    )


def _mlflow(url: str) -> Target:
    def read(content: Any) -> tuple[int, bool]:
        return 0, isinstance(content["predictions"][0]["edit"], str)

    return Target(
        "mlflow", url, "/invocations", "none", lambda p: json.dumps({"inputs": [p]}).encode(), read
    )


def _add(to: Load, part: Load) -> None:
    to.answers += part.answers
    to.seconds += part.seconds
    to.latencies += part.latencies
    to.tokens += part.tokens
    to.hits += part.hits
    to.failed += part.failed


def _quantile(load_seen: Load, share: float) -> float | None:
    if not load_seen.latencies:
        return None
    ordered = sorted(load_seen.latencies)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
