"""What a service with edits costs, against the same without, and against the servers people have.

    home with edits ──► melo serve          ┐
    home without    ──► melo serve          ├  32 clients over loopback, each asks again when it is
    same version    ──► mlflow models serve │  answered; half of the questions hit an edit;
    same model      ──► transformers serve  ┘  in turn, round after round; ratios within a round

Every server is a process of its own, started as a user starts it, with one key and all defaults, but
that no answer is given up as too late. A chat model is asked conversations (`chats`) and streams its
answers, but for MLflow's server, which can't; that it says what it says by itself is checked before.
Both services write every answer to its full length (`ignore_eos`, as load tests of vLLM do), so that
edits cost what they cost and not what their answers are longer; the other servers end by themselves.
How long a service takes to be there again after a kill is measured by `restart`.
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
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chats import LENGTH, body, chats, wordy
from benchmarks.engine import product_editor
from benchmarks.gate import read_material
from benchmarks.load import Load, Target, put_load, put_paced_load
from benchmarks.progress import Report, silent
from benchmarks.restart import restarts
from benchmarks.same_text import same_text, sample
from benchmarks.servers import limited_answers, melo_serve, mlflow_serve, transformers_serve
from config import Settings, load
from execution.context import Context, open_ledger
from execution.versions import Versions
from melo_engine import Backbone, Conversation, Editor, EditRequest, Version
from melo_engine.near_misses import template_of
from melo_engine.projection import SCHEME
from registry.store import Registry
from serving.keys import KeyStore
from tasks.gate.suites.wordings import swap
from tasks.register import register

PutLoad = Callable[[Target, int], Coroutine[Any, Any, Load]]  # on a server, in which round
# A machine that is busy with something else is slow, not wrong: other servers don't give up either.
TOML = '[backbone]\npath = {path}\ntask = "{task}"\ndtype = "{dtype}"\n\n[serve]\nrequest_seconds = 900\n'
CONVERSATIONS = 2000  # different ones
KEY_PASSES = 40
LOAD = 0.75  # of what the slower service answers with all clients at once


@dataclass(frozen=True)
class ServePlan:
    """What is measured. seconds: of each server in each round. mlflow, peer, restarts: whether as well.

    compared: so many answers are compared with `model.generate`'s, to prompts of `traffic` (JSON lines)
    or to made-up ones; of a chat model only. dtype: of the weights in all servers but MLflow's, which
    is left out then; none: as they are stored.
    """

    backbone: Path | str
    cache: Path
    edits: int
    clients: int
    seconds: float
    rounds: int
    compared: int
    data: tuple[Path, ...]
    traffic: Path | None
    dtype: str | None
    seed: int
    mlflow: bool
    peer: bool
    restarts: bool


def bench(plan: ServePlan, progress: Report = silent) -> dict[str, Any]:
    """The record that `melo bench serve` prints."""
    backbone = Backbone.open(plan.backbone, dtype=plan.dtype or "auto")
    material = read_material(plan.data, plan.seed)
    requests = material.requests[: plan.edits]
    if backbone.is_chat:
        requests = [wordy(request) for request in requests]
    version = edited_version(backbone, requests, plan.cache, progress)
    asked = questions(version, material.templates, material.names, plan.seed)
    prompts: Sequence[Any] = chats(asked, CONVERSATIONS, plan.seed) if backbone.is_chat else asked
    record: dict[str, Any] = {}
    if backbone.is_chat:
        caught = [edit.request.question for edit in version.edits.values()]
        record |= key_pass(backbone, version, chats(caught, KEY_PASSES, plan.seed, ("history",)))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as servers:
        progress("starting the servers", 0, 4)
        edited = make_home(Path(scratch) / "edited", backbone, plan.backbone, version)
        bare = make_home(Path(scratch) / "bare", backbone, plan.backbone, None)
        if plan.restarts:
            record |= restarts(edited, plan.backbone, version.id, progress)
        chat = backbone.is_chat
        targets = [
            _ours("edited", edited, servers.enter_context(melo_serve(edited)), chat),
            _ours("bare", bare, servers.enter_context(melo_serve(bare)), chat),
        ]
        if chat and plan.compared:
            conversations = sample(plan.traffic, plan.compared, plan.seed)
            record |= same_text(backbone, targets[0], conversations, plan.clients, progress)
        if plan.mlflow and plan.dtype is None:
            place = limited_answers(Path(scratch), plan.backbone, LENGTH) if chat else None
            other = servers.enter_context(mlflow_serve(edited, backbone, place))
            targets.append(_mlflow(other, chat))
        if chat and plan.peer:
            peer = servers.enter_context(
                transformers_serve(Path(scratch), plan.backbone, plan.dtype or "auto")
            )
            targets.append(_peer(peer, plan.backbone))
        for target in targets:  # warm up
            asyncio.run(
                put_load(target, prompts, min(4, plan.clients), min(2.0, plan.seconds), plan.seed)
            )
        seen = _rounds(
            targets,
            plan.rounds,
            lambda name, turn: progress(f"asking: {name}", turn, plan.rounds),
            lambda target, turn: put_load(
                target, prompts, plan.clients, plan.seconds, plan.seed + turn
            ),
        )
        if chat:
            services = targets[:2]
            totals = _totals(seen)
            rate = LOAD * min(totals[service.name].throughput for service in services)
            count = max(1, round(rate * plan.seconds))
            paced = _rounds(
                services,
                plan.rounds,
                lambda name, turn: progress(f"asking at set moments: {name}", turn, plan.rounds),
                lambda target, turn: put_paced_load(target, prompts, rate, count, plan.seed + turn),
            )
            record |= _first_tokens(paced)
    return {
        **_ratios(seen),
        **record,
        "clients": plan.clients,
        "edits": len(version),
        "prompts": "half short, half of 512 tokens" if chat else "questions",
        "max_tokens": LENGTH if chat else None,
        "backbone": backbone.name,
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "data": [p.name for p in plan.data] or "made up",
        "device": backbone.device.type,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }


def key_pass(
    backbone: Backbone, version: Version, conversations: Sequence[Any]
) -> dict[str, float]:
    """What finding the edit costs of the time to the first token, each conversation alone: the median.

    conversations: such as an edit answers; one that names no edited subject costs no pass at all.
    """
    editor = Editor(backbone, version)
    prompts = [Conversation.of(messages) for messages in conversations]
    editor.routes(prompts[:1])
    shares = []
    for prompt in prompts:
        began = time.perf_counter()
        editor.routes([prompt])
        routed = time.perf_counter()
        editor.answer([prompt], max_new_tokens=1)  # routes it as well
        shares.append((routed - began) / (time.perf_counter() - routed))
    return {"key_pass_share": round(statistics.median(shares), 4)}


def _rounds(
    targets: Sequence[Target], rounds: int, say: Callable[[str, int], None], load: PutLoad
) -> list[dict[str, Load]]:
    """What was seen of each server in each round; each other round begins at the other end."""
    seen: list[dict[str, Load]] = []
    for turn in range(rounds):
        seen.append({})
        for target in targets if turn % 2 else targets[::-1]:
            say(target.name, turn)
            seen[turn][target.name] = asyncio.run(load(target, turn))
    return seen


def _ratios(seen: Sequence[dict[str, Load]]) -> dict[str, Any]:
    """Medians over the rounds, and what they are of."""
    ratios = {
        "throughput": _against(seen, "bare", lambda load_seen: load_seen.throughput),
        "token_throughput": _against(seen, "bare", lambda load_seen: load_seen.tokens_per_second),
        "mlflow": _against(seen, "mlflow", lambda load_seen: load_seen.throughput),
        "peer": _against(seen, "transformers", lambda load_seen: load_seen.throughput),
    }
    totals = _totals(seen)
    return {
        **{
            f"{name}_ratio": round(statistics.median(values), 3) if values else None
            for name, values in ratios.items()
        },
        "p50_ms": totals["edited"].quantile_ms(0.5),
        "p95_ms": totals["edited"].quantile_ms(0.95),
        **{f"{name}_ratios": [round(v, 3) for v in values] for name, values in ratios.items()},
        "servers": {name: load_seen.figures() for name, load_seen in totals.items()},
    }


def _first_tokens(paced: Sequence[dict[str, Load]]) -> dict[str, Any]:
    """Times to the first text where both services were asked the same at the same moments.

    Clients that wait for their answers ask at other moments of each server, in bursts: what a question
    waits for then says little of the server.
    """
    ratios = _against(paced, "bare", lambda load_seen: load_seen.first_token)
    return {
        "first_token_ratio": round(statistics.median(ratios), 3) if ratios else None,
        "first_token_ratios": [round(ratio, 3) for ratio in ratios],
        "first_token_load": LOAD,
        "paced": {name: load_seen.figures() for name, load_seen in _totals(paced).items()},
    }


def _totals(seen: Sequence[dict[str, Load]]) -> dict[str, Load]:
    """What was seen of each server in all rounds."""
    totals: dict[str, Load] = {name: Load() for name in seen[0]}
    for turn in seen:
        for name, part in turn.items():
            totals[name].add(part)
    return totals


def _against(
    seen: Sequence[dict[str, Load]], other: str, figure: Callable[[Load], float | None]
) -> list[float]:
    """A figure of the service with edits over another server's, of each round in which both have one."""
    pairs = [(figure(turn["edited"]), figure(turn[other])) for turn in seen if other in turn]
    return [mine / its for mine, its in pairs if mine is not None and its]


def edited_version(
    backbone: Backbone, requests: Sequence[EditRequest], cache: Path, progress: Report
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
        t
        for e in version.edits.values()
        if (t := template_of(e.request.question, e.request.subject or ""))
    ]
    misses = [swap(chooser.choice(wordings), name) for name in names[: len(hits)]]
    return [*hits, *misses[: len(hits)]]


def make_home(
    folder: Path, backbone: Backbone, path: Path | str, version: Version | None
) -> Settings:
    """A home whose champion is this version, as a passed gate leaves it; none: without a champion."""
    folder.mkdir(parents=True)
    absolute = str(Path(path).absolute()) if Path(path).exists() else str(path)
    (folder / "melo.toml").write_text(
        TOML.format(
            path=json.dumps(absolute),
            task=backbone.task,
            dtype=str(backbone.dtype).removeprefix("torch."),
        )
    )
    settings = load(folder)
    KeyStore(settings.paths.keys).add("bench", ["ask", "report", "admin"])
    if version is not None:
        make_champion(settings, backbone, version)
    return settings


def make_champion(settings: Settings, backbone: Backbone, version: Version) -> str:
    """Register a version as one that passed and point the champion's alias at it; its number."""
    Versions(settings).save(version)
    with open_ledger(settings) as ledger:
        ledger.versions.record(version.id, parent=None, job_id=None)
        ledger.versions.record_verdict(version.id, passed=True, reason="for a benchmark")
        number = register(Context(settings, ledger), version.id)
    assert number is not None
    registry = Registry(settings)
    registry.set_alias(registry.name_for(backbone), "champion", number)
    return number


def _ours(name: str, settings: Settings, url: str, chat: bool) -> Target:
    _, key = KeyStore(settings.paths.keys).add(name, ["ask"])

    def read(content: Any) -> tuple[int, bool]:
        hit = content["choices"][0]["melo"]["edit"] is not None
        return content["usage"]["completion_tokens"], hit

    def read_events(events: Any) -> tuple[int, bool]:
        origins = [c["melo"] for event in events for c in event["choices"] if c.get("melo")]
        return _tokens(events), any(origin["edit"] is not None for origin in origins)

    def ask(messages: Any) -> bytes:
        return _streamed(messages, ignore_eos=True)

    if chat:
        return Target(name, url, "/v1/chat/completions", key, ask, read_events)
    return Target(
        name, url, "/v1/completions", key, lambda p: json.dumps({"prompt": p}).encode(), read
    )


def _peer(url: str, backbone_path: Path | str) -> Target:
    """`transformers serve`, which takes the same bodies but for the name of the model."""

    def ask(messages: Any) -> bytes:
        return _streamed(messages, model=str(Path(backbone_path).absolute()))

    def read(events: Any) -> tuple[int, bool]:
        return _tokens(events), False

    return Target("transformers", url, "/v1/chat/completions", "none", ask, read)


def _streamed(messages: Any, **fields: Any) -> bytes:
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body(messages, **fields)).encode()


def _tokens(events: Any) -> int:
    """Tokens of a streamed answer, as its usage says."""
    return next((int(e["usage"]["completion_tokens"]) for e in events if e.get("usage")), 0)


def _mlflow(url: str, chat: bool) -> Target:
    def ask(prompt: Any) -> bytes:
        if chat:
            return json.dumps(
                {"dataframe_split": {"columns": ["messages"], "data": [[prompt]]}}
            ).encode()
        return json.dumps({"inputs": [prompt]}).encode()

    def read(content: Any) -> tuple[int, bool]:
        return 0, isinstance(content["predictions"][0]["edit"], str)

    return Target("mlflow", url, "/invocations", "none", ask, read)
