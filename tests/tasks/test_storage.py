"""What versions take up: only new blocks are logged, folding loses nothing, deleting is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pytest
import torch

from artifacts.manifest import read_manifest
from config import Settings
from execution.context import Context, open_ledger
from execution.versions import Versions
from ledger import Ledger
from melo_engine import Edit, EditRequest, Version
from melo_engine.blocks import Shard
from registry.store import Registry
from tasks.compact import compact
from tasks.errors import NotDeletable, NotPromotable
from tasks.fold import fold
from tasks.register import promote, register
from tasks.register.delete import delete
from tests.conftest import PEOPLE, Melo, report
from tests.pipeline import promoted, take

PROMPTS = [str(report(i)["prompt"]) for i in range(3)]


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def line_of(count: int, home: Settings, ledger: Ledger) -> list[str]:
    """Champions, each with one edit more."""
    versions = []
    for number in range(count):
        take(home, ledger, report(number))
        versions.append(promoted(home, ledger))
    return versions


def uploaded(home: Settings, number: str) -> dict[str, int]:
    """Shards that lie with a registered version, and how many bytes of blocks and keys they have."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    model = registry.client.get_logged_model(registry.model_of(name, number))
    local = Path(mlflow.artifacts.download_artifacts(model.artifact_location))
    found = {p.name: p for p in (local / "artifacts" / "version" / "shards").glob("*")}
    return {k: sum(f.stat().st_size for f in p.iterdir()) for k, p in found.items()}


def asked(home: Settings, number: str) -> list[str]:
    """What a registered version answers, loaded by MLflow."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    model = mlflow.pyfunc.load_model(f"models:/{name}/{number}")
    return list(model.predict(PROMPTS)["answer"])


def said(home: Settings, version: str) -> list[tuple[str, str | None]]:
    """What a version answers here, and which edit it was."""
    return [(a.text, a.edit) for a in Versions(home).editor(version).answer(PROMPTS)]


def with_blocks(version: Version, count: int, like: Edit, seed: int) -> Version:
    """More edits, with blocks of random weights, trained by nobody."""
    shard, _ = version.place(like.id)
    generator = torch.Generator().manual_seed(seed)
    pairs = [
        (
            torch.randn((count, *a.shape[1:]), generator=generator),
            torch.randn((count, *b.shape[1:]), generator=generator),
        )
        for a, b in shard.pairs
    ]
    keys = np.random.default_rng(seed).normal(size=(count, shard.keys.shape[1]))
    made = Shard.from_tensors(pairs, keys.astype(np.float32))
    edits = [
        Edit(
            EditRequest(f"question {seed} {i} ?", "ada", subject=f"name{seed}x{i}"),
            made.name,
            i,
            made.block_hash(i),
            made.rank,
            0.1,
            len(version) + i,
        )
        for i in range(count)
    ]
    return version.with_edits(edits, [made])


def test_of_10_000_edits_and_50_more_the_blocks_of_the_50_are_logged(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = Versions(home).open(promoted(home, ledger))
    many = with_blocks(first, 9_999, next(iter(first.edits.values())), seed=1)
    more = with_blocks(many, 50, next(iter(first.edits.values())), seed=2)
    for version, parent in ((many, first), (more, many)):
        Versions(home).save(version)
        ledger.versions.record(version.id, parent=parent.id, job_id=None)
        ledger.versions.record_verdict(version.id, passed=True, reason="planted")
        register(Context(home, ledger), version.id)
    sizes = [sum(uploaded(home, n).values()) for n in ("2", "3")]
    assert len(more) == 10_050
    assert len(uploaded(home, "3")) == 1
    assert sizes[1] < 1.2 * sizes[0] * 50 / 9_999
    refers = ledger.versions.get(more.id).info["refers"]
    assert refers == sorted(str(ledger.versions.get(v.id).info["model"]) for v in (first, many))


def test_after_folding_every_version_answers_as_before_here_and_from_mlflow(
    home: Settings, ledger: Ledger
) -> None:
    first, second, third = line_of(3, home, ledger)
    before = {v: said(home, v) for v in (first, second, third)}
    done = fold(Context(home, ledger), above=1)
    assert (done.before, done.after, done.moved, done.number) == (3, 1, 2, "4")
    assert fold(Context(home, ledger), above=1).number is None
    assert compact(Context(home, ledger)).shards == 0, "somebody may have them open"
    assert compact(Context(home, ledger), older_than=-1).shards == 3
    (shard,) = [p.name for p in home.paths.shards.iterdir()]
    for version, answers in before.items():
        assert read_manifest(home.paths.version(version))["shards"] == [shard]
        assert said(home, version) == answers
    texts = [[text for text, _ in before[v]] for v in (first, second, third, third)]
    assert [asked(home, n) for n in ("1", "2", "3", "4")] == texts
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    assert str(registry.client.get_registered_model(name).aliases["champion"]) == "4"
    take(home, ledger, report(3))
    fourth = ledger.versions.get(promoted(home, ledger))
    assert fourth.info["refers"] == [ledger.versions.get(third).info["model"]]
    assert shard not in uploaded(home, fourth.registry_version or "")


def test_a_version_that_another_refers_to_is_not_deleted(
    home: Settings, ledger: Ledger, melo_in: Callable[[Path], Melo]
) -> None:
    first, second = line_of(2, home, ledger)
    melo = melo_in(home.home)
    for version, why in ((first, "goes back to"), (second, "serves")):
        code, _, err = melo("versions", "delete", version[:12])
        assert (code, why in err) == (2, True)
    take(home, ledger, report(2))
    third = promoted(home, ledger)
    with pytest.raises(NotDeletable, match=f"{second[:12]} and 1 more refers"):
        delete(Context(home, ledger), first, actor="test", reason="try")
    assert melo.json("versions", "compact")["folded"]["after"] == 1
    assert "nothing to fold" in melo("versions", "compact")[1]
    with pytest.raises(NotDeletable, match=second[:12]):
        delete(Context(home, ledger), first, actor="test", reason="the second still refers to it")
    take(home, ledger, report(3))
    promoted(home, ledger)
    assert melo("versions", "delete", second[:12], "--reason", "old")[0] == 0
    assert melo("versions", "delete", first[:12])[0] == 0
    assert not home.paths.version(first).exists()
    assert Versions(home).editor(third).answer(PROMPTS[:1])[0].text == "ada"
    assert len(asked(home, "5")) == 3
    with pytest.raises(NotPromotable, match="was deleted"):
        promote(Context(home, ledger), first, expected=None, actor="test", reason="try")


def test_mlflow_serves_a_champion_with_neither_the_home_nor_the_pipeline(
    home: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    line_of(2, home, ledger)
    shutil.move(
        home.paths.shards, tmp_path / "elsewhere"
    )  # what the champion refers to is in MLflow
    Versions.forget_opened()
    poison = tmp_path / "poison"
    poison.mkdir()
    for name in ("ledger", "tasks", "flows", "config", "prefect", "duckdb"):
        (poison / f"{name}.py").write_text("raise ImportError('not for serving')\n")
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    project = str(Path(__file__).parents[2])
    port = free_port()
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            f"models:/{name}@champion",
            "--env-manager",
            "local",
            "-p",
            str(port),
            "--workers",
            "1",
        ],
        cwd=tmp_path,
        start_new_session=True,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": home.tracking_uri,
            "PYTHONPATH": f"{poison}{os.pathsep}{project}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=(tmp_path / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ping", server, tmp_path / "log")
        said = httpx.post(f"{url}/invocations", json={"inputs": PROMPTS[:2]}, timeout=60)
        rows = said.json()["predictions"]
        assert [row["answer"] for row in rows] == list(PEOPLE[:2])
        assert all(row["edit"] and row["block"] and row["distance"] is not None for row in rows)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer: {log.read_text()[-2000:]}")
