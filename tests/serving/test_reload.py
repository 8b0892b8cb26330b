"""The champion moves while 32 clients ask: nobody notices, but for the answers."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import ref

import httpx
import pytest
import torch

from config import Settings, load
from execution.context import Context, open_ledger
from execution.versions import Versions
from melo_engine import Version
from registry.store import Registry
from serving.champion import LoadedVersions
from serving.errors import VersionUnusable
from serving.metrics import Metrics
from tasks.register import register
from tests.serving.support import (
    ANSWERS,
    EDITED,
    SECOND,
    UNEDITED,
    Running,
    point,
    running,
    tuned,
    until,
)

CLIENTS = 32


def serving_id(server: Running, alias: str = "champion") -> str:
    return server.service.versions.serving()[alias].id


def test_the_alias_moves_and_moves_back_while_32_clients_ask(two_versions: Settings) -> None:
    stop = threading.Event()
    seen: list[tuple[float, str, list[tuple[str, str]]]] = []
    failures: list[str] = []
    asked = [*EDITED, UNEDITED[0]]

    def client(url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not stop.is_set():
                got = http.post("/v1/completions", json={"prompt": asked})
                if got.status_code != 200:
                    failures.append(got.text)
                    continue
                choices = got.json()["choices"]
                said = [(c["melo"]["version"], c["text"]) for c in choices]
                seen.append((time.monotonic(), got.headers["melo-version"], said))

    with running(two_versions) as server:
        first = serving_id(server)
        base = server.ask(UNEDITED[0], model="base")["choices"][0]["text"]
        threads = [threading.Thread(target=client, args=(server.url,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        moved = {}
        for number in ("2", "1"):
            reached = len(seen) + 64
            until(lambda n=reached: len(seen) >= n)  # type: ignore[misc]
            point(two_versions, "champion", number)
            moved[number] = time.monotonic()
            before = len(seen)
            wanted = number == "1"
            until(
                lambda b=before, w=wanted: any((v == first) == w for _, v, _ in seen[b:])  # type: ignore[misc]
            )
        reached = len(seen) + 64
        until(lambda: len(seen) >= reached)
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
        second = next(v for _, v, _ in seen if v != first)
    assert not failures
    texts = {first: [*ANSWERS.values(), base], second: [*list(SECOND.values())[:2], base]}
    for _, header, said in seen:
        assert {version for version, _ in said} == {header}, "one answer, two versions"
        assert [text for _, text in said] == texts[header]
    came = min(at for at, version, _ in seen if version == second)
    back = min(at for at, version, _ in seen if version == first and at > came + 0.05)
    assert came - moved["2"] < 5
    assert back - moved["1"] < 5


def test_the_alias_moves_under_32_streams_and_none_fails_or_mixes(
    chat_home: Path, tmp_path: Path
) -> None:
    shutil.copytree(chat_home, tmp_path / "home")
    settings = tuned(load(tmp_path / "home"), auth="none")
    second = without_an_edit(settings, EDITED[0])
    stop = threading.Event()
    seen: list[tuple[str, str, set[str]]] = []
    failures: list[str] = []
    body = {"messages": [{"role": "user", "content": EDITED[0]}], "max_tokens": 24, "stream": True}

    def client(url: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not stop.is_set():
                with http.stream("POST", "/v1/chat/completions", json=body) as got:
                    lines = [line for line in got.iter_lines() if line]
                if got.status_code != 200 or lines[-1] != "data: [DONE]":
                    failures.append(f"{got.status_code}: {lines[-1:]}")
                    continue
                events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
                choices = [event["choices"][0] for event in events]
                text = "".join(choice["delta"].get("content") or "" for choice in choices)
                named = {event["system_fingerprint"] for event in events}
                named |= {choice["melo"]["version"] for choice in choices if choice.get("melo")}
                seen.append((got.headers["melo-version"], text, named))

    with running(settings) as server:
        first = serving_id(server)
        with server.client() as http:
            base = http.post(
                "/v1/chat/completions", json={**body, "model": "base", "stream": False}
            ).json()["choices"][0]["message"]["content"]
        threads = [threading.Thread(target=client, args=(server.url,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for number, wanted in (("2", second), ("1", first), ("2", second)):
            before = len(seen)
            point(settings, "champion", number)
            until(lambda b=before, w=wanted: sum(v == w for v, _, _ in seen[b:]) > CLIENTS)  # type: ignore[misc]
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert not failures
    texts = {first: ANSWERS[EDITED[0]], second: base}
    assert texts[first] != texts[second]
    for header, text, named in seen:
        assert named == {header}, "one stream, two versions"
        assert text == texts[header]


def without_an_edit(settings: Settings, prompt: str) -> str:
    """Register a version that lacks the edit of a prompt; its id."""
    backbone = Versions(settings).backbone
    champion = next(p for p in settings.paths.versions.iterdir() if p.name != "shards")
    version = Version.load(champion, backbone, settings.paths.shards)
    [edit] = [edit.id for edit in version.edits.values() if edit.request.question == prompt]
    version = version.without([edit])
    Versions(settings).save(version)
    with open_ledger(settings) as ledger:
        ledger.versions.record(version.id, parent=None, job_id=None)
        ledger.versions.record_verdict(version.id, passed=True, reason="for the tests of serving")
        register(Context(settings, ledger), version.id)
    return version.id


def test_what_was_replaced_leaves_the_memory(two_versions: Settings) -> None:
    with running(tuned(two_versions, pinned=0)) as server:
        old, before = serving_id(server), ref(server.service.versions.serving()["champion"])
        point(two_versions, "champion", "2")
        until(lambda: serving_id(server) != old)
        until(lambda: gc.collect() >= 0 and before() is None)
        assert server.ask(EDITED[0])["choices"][0]["text"] == "eva"


def test_a_damaged_version_is_not_served_and_the_old_one_goes_on_loudly(
    two_versions: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with running(two_versions) as server:
        good = serving_id(server)
        other = next(
            p for p in two_versions.paths.versions.iterdir() if p.name not in (good, "shards")
        )
        mine = (two_versions.paths.version(good) / "manifest.json").read_text()
        for shard in two_versions.paths.shards.iterdir():
            if shard.name not in mine:
                blocks = shard / "blocks.safetensors"
                data = bytearray(blocks.read_bytes())
                data[-1] ^= 1
                blocks.write_bytes(bytes(data))
        with caplog.at_level(logging.ERROR, "melo.serving"):
            point(two_versions, "champion", "2")
            until(lambda: "damaged" in caplog.text)
        assert good[:12] in caplog.text
        with server.client() as client:
            ready = client.get("/readyz")
            metrics = client.post("/admin/reload")
        assert ready.status_code == 200
        assert "damaged" in ready.json()["trouble"]
        assert metrics.status_code == 409
        answer = server.ask(EDITED[0])["choices"][0]
        assert (answer["text"], answer["melo"]["version"]) == ("ada", good)
        with server.client() as client:
            pinned = client.post("/v1/completions", json={"prompt": "who", "model": other.name})
        assert pinned.status_code == 409
        point(two_versions, "champion", "1")
        until(lambda: server.service.versions.trouble is None)


def test_a_version_that_failed_its_gate_is_not_served(two_versions: Settings) -> None:
    registry = Registry(two_versions)
    name = registry.name_for(Versions(two_versions).backbone)
    with running(two_versions) as server:
        registry.client.set_model_version_tag(name, "2", "melo.gate", "failed")
        point(two_versions, "champion", "2")
        until(lambda: server.service.versions.trouble is not None)
        assert "did not pass" in str(server.service.versions.trouble)
        assert server.ask(EDITED[0])["choices"][0]["text"] == "ada"


@contextmanager
def followed(settings: Settings) -> Iterator[LoadedVersions]:
    """The versions of a home, which follow the aliases when they are told to."""
    backbone = Versions(settings).backbone
    versions = LoadedVersions(settings, backbone, Registry(settings).name_for(backbone), Metrics())
    try:
        yield versions
    finally:
        versions.close()


def test_a_version_that_cannot_be_run_leaves_nothing_behind(two_versions: Settings) -> None:
    with followed(two_versions) as versions:
        versions.follow()
        champion = versions.serving()["champion"]
        module, tried = champion.editor.runtime.key_module, []
        hooks = len(module._forward_hooks)

        def out_of_memory(*_: Any) -> None:
            tried.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")

        handle = module.register_forward_pre_hook(out_of_memory)
        try:
            point(two_versions, "champion", "2")
            for _ in range(3):
                with pytest.raises(VersionUnusable, match="can't answer: OutOfMemoryError"):
                    versions.follow()
        finally:
            handle.remove()
        assert len(tried) == 1
        assert len(module._forward_hooks) == hooks
        assert versions.serving()["champion"] is champion


def test_an_unusable_candidate_keeps_no_champion_open(two_versions: Settings) -> None:
    with followed(tuned(two_versions, canary=0.5, pinned=0)) as versions:
        client = Registry(two_versions).client
        source = client.get_model_version(versions.name, "2").source
        ungated = client.create_model_version(versions.name, source)
        point(two_versions, "candidate", str(ungated.version))
        for number in ("1", "2"):
            point(two_versions, "champion", number)
            with pytest.raises(VersionUnusable, match="did not pass a gate"):
                versions.follow()
            assert versions.serving()["champion"].number == number
            assert set(versions._open) == {"", number}


def test_of_the_versions_asked_for_by_name_the_one_not_asked_for_longest_closes(
    two_versions: Settings,
) -> None:
    with followed(two_versions) as versions:
        Registry(two_versions).set_alias(versions.name, "champion", None)
        versions.follow()
        ids = [versions.registry.by_number(number).version for number in ("1", "2")]
        for name in (*ids, ids[0]):
            versions.take(name)
        versions.settings = tuned(two_versions, pinned=1)
        versions.follow()
        assert set(versions._open) == {"", "1"}


def test_without_a_champion_the_backbone_answers(two_versions: Settings, empty_store: Path) -> None:
    shutil.copy(empty_store, two_versions.paths.mlflow_db)
    with running(two_versions) as server:
        assert server.ask(EDITED[0])["choices"][0]["melo"]["version"] == "base"


def test_a_champion_is_fetched_from_mlflow_where_the_home_does_not_hold_it(
    two_versions: Settings,
) -> None:
    point(two_versions, "champion", "2")
    shutil.rmtree(two_versions.paths.versions)
    with running(two_versions) as server:
        got = server.ask(list(SECOND))["choices"]  # type: ignore[arg-type]
    assert [c["text"] for c in got] == list(SECOND.values())


def test_the_candidate_answers_its_share_and_is_compared_on_the_side(
    two_versions: Settings,
) -> None:
    tuned_home = tuned(two_versions, canary=0.5, shadow=1.0)
    prompts = [f"who leads {a} ? {b}" for a in ("velandor", "toriquet") for b in "abcdefgh"]
    with running(tuned_home) as server:
        first, second = serving_id(server), serving_id(server, "candidate")
        by = {p: server.ask(p)["choices"][0]["melo"]["version"] for p in prompts}
        again = {p: server.ask(p)["choices"][0]["melo"]["version"] for p in prompts}
        assert by == again
        assert set(by.values()) == {first, second}
        compared = two_versions.paths.traffic / "shadow"

        def lines() -> str:
            return "".join(p.read_text() for p in compared.glob("*.jsonl"))

        def told_apart() -> bool:  # a busy service leaves the comparing out
            server.ask(random.choice(prompts))
            return '"same": false' in lines()

        until(told_apart)
    assert f'"candidate": "{second}"' in lines()
    assert "velandor" not in lines()


def started(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """`melo serve` as a user starts it."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "cli.main",
            "--home",
            str(home),
            "serve",
            "--port",
            "0",
            "--no-keys",
        ],
        stdout=subprocess.PIPE,
        stderr=(home / "log").open("ab"),
    )
    assert process.stdout is not None
    said = re.search(r"http://\S+", process.stdout.readline().decode())
    assert said, (home / "log").read_text()
    return process, said[0]


def ready(url: str) -> Any:
    got = httpx.get(f"{url}/readyz", timeout=10)
    return got.json() if got.status_code == 200 else None


def test_killed_and_started_again_it_serves_the_right_champion(two_versions: Settings) -> None:
    process, url = started(two_versions.home)
    try:
        until(lambda: ready(url), 180)
        first = ready(url)["versions"]["champion"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        point(two_versions, "champion", "2")
        process.communicate()
        process, url = started(two_versions.home)
        until(lambda: ready(url), 180)
        assert ready(url)["versions"]["champion"] != first
        body = {"prompt": EDITED[0]}
        got = httpx.post(f"{url}/v1/completions", json=body, timeout=30).json()
        assert got["choices"][0]["text"] == "eva"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM, 143)
        said = (two_versions.home / "log").read_text()
        assert "Traceback" not in said
        assert EDITED[0] not in said
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert os.listdir(two_versions.paths.traffic)
