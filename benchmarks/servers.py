"""Servers of a home as a user starts them, each a process of its own on a free port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from config import Settings
from melo_engine import Backbone
from registry.store import Registry

STARTING = 180.0  # seconds for a server to be ready


@dataclass
class Started:
    """A `melo serve` that is ready. seconds: from the command to /readyz."""

    process: subprocess.Popen[bytes]
    url: str
    seconds: float

    def kill(self) -> None:
        """SIGKILL, with whatever it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.end()

    def end(self) -> None:
        """End it, if it has not ended."""
        _end(self.process)


def start_serve(settings: Settings, *options: str) -> Started:
    """`melo serve` on any free port, ready. Raises RuntimeError where it does not come up."""
    began = time.perf_counter()
    log = settings.home / "serve.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "cli.main",
                "--home",
                str(settings.home),
                "serve",
                "--port",
                "0",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if "http" not in line:
            raise RuntimeError(f"melo serve did not start; see {log}.")
        url = line.split()[-1]
        _wait_until(f"{url}/readyz", process, str(log))
    except BaseException:
        _end(process)
        raise
    return Started(process, url, time.perf_counter() - began)


@contextmanager
def melo_serve(settings: Settings, *options: str) -> Iterator[str]:
    """`melo serve` on any free port, ready; its address."""
    started = start_serve(settings, *options)
    try:
        yield started.url
    finally:
        started.end()


@contextmanager
def mlflow_serve(settings: Settings, backbone: Backbone, place: Path | None) -> Iterator[str]:
    """`mlflow models serve` of the champion, ready; its address. place: of its backbone, if another."""
    port = free_port()
    name = Registry(settings).name_for(backbone)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        f"models:/{name}@champion",
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    more = {
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        **({"MELO_MODEL_BACKBONE": str(place)} if place else {}),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",  # uvicorn's
    }
    with _running(command, port, "ping", settings.home / "mlflow-serve.log", more) as url:
        yield url


@contextmanager
def transformers_serve(
    scratch: Path, backbone_path: Path | str, dtype: str = "auto"
) -> Iterator[str]:
    """`transformers serve` of the backbone, ready; its address."""
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "transformers"),
        "serve",
        str(Path(backbone_path).absolute()),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--dtype",
        dtype,
    ]
    more = {"HF_HUB_OFFLINE": "1"}
    with _running(command, port, "health", scratch / "transformers-serve.log", more) as url:
        yield url


@contextmanager
def _running(
    command: list[str], port: int, health: str, log: Path, more: dict[str, str]
) -> Iterator[str]:
    """A server at a port of this machine, once its path `health` answers; its address.

    more: variables that it gets beside this process's own.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, env={**os.environ, **more}
        )
    try:
        _wait_until(f"{url}/{health}", process, str(log))
        yield url
    finally:
        _end(process)


def limited_answers(scratch: Path, backbone_path: Path | str, tokens: int) -> Path:
    """The backbone's folder again, whose generation_config ends answers after so many tokens.

    MLflow's server takes no length with a question, so this is how its answers are as long as others'.
    """
    source = Path(backbone_path).absolute()
    folder = scratch / "limited" / source.name
    folder.mkdir(parents=True)
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    config = folder / "generation_config.json"
    content = json.loads(config.read_text()) if config.exists() else {}
    config.unlink(missing_ok=True)
    config.write_text(json.dumps({**content, "max_new_tokens": tokens}))
    return folder


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until(url: str, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            raise RuntimeError(f"the server for {url} ended: {' | '.join(last)}")
        try:
            if httpx.get(url, timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} was not ready after {STARTING:.0f} s.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and whatever it started: they share a session of their own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
