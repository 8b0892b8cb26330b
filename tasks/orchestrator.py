"""Where Prefect lives: in the home, on its own ephemeral server, unless one is named.

`use(home)` comes before the first import of prefect; it reads its settings then. `start()` lets the
server come up while something else is being done, since that takes most of a first flow's time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from config import Settings

STARTING = 120.0  # seconds

_starting: list[threading.Thread] = []
_guards: list[subprocess.Popen[bytes]] = []  # kept: a forgotten one would close its pipe


def use(settings: Settings) -> None:
    """Set what Prefect reads at its import. What the environment says already is left as it is."""
    home = Path(settings.home).absolute() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    defaults = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "true",
    }
    if settings.prefect_database:
        defaults["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = settings.prefect_database
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def start(settings: Settings) -> None:
    """Begin to start the ephemeral server, in a thread; call `wait` before a flow."""
    if os.environ.get("PREFECT_API_URL") or _starting:
        return
    _end_orphan(_note(settings))

    def begin() -> None:
        from prefect.server.api.server import SubprocessASGIServer

        server = SubprocessASGIServer()
        guarding = threading.Thread(target=_guard_once_there, args=(server, settings), daemon=True)
        guarding.start()
        server.start()
        guarding.join()

    thread = threading.Thread(target=begin, name="prefect-server", daemon=True)
    _starting.append(thread)
    thread.start()


def wait() -> None:
    """Return once the server that `start` began to start is up; at once where there is none."""
    for thread in _starting:
        thread.join()


def end_with_us() -> None:
    """Let a process that is told to end do so by itself, so that its ephemeral server ends too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _note(settings: Settings) -> Path:
    return Path(settings.home) / "run" / "ephemeral.json"


def _write(note: Path, pid: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    born = psutil.Process(pid).create_time()
    note.write_text(json.dumps({"pid": pid, "born": born, "of": os.getpid()}), encoding="utf-8")


def _guard_once_there(server: Any, settings: Settings) -> None:
    """Guard the server from its first moment: it takes long to come up."""
    deadline = time.monotonic() + STARTING
    while server.server_process is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if server.server_process is not None:
        _guard(server.server_process.pid)
        _write(_note(settings), server.server_process.pid)


def _guard(server: int) -> None:
    """Let the server end with this process, however that ends: a pipe to a small shell closes."""
    guard = subprocess.Popen(
        ["sh", "-c", 'read _; kill "$0" 2>/dev/null', str(server)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    _guards.append(guard)


def _end_orphan(note: Path) -> None:
    """End the server of a run that was killed before it could do so itself."""
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
        server = psutil.Process(told["pid"])
        if abs(server.create_time() - told["born"]) < 1 and not psutil.pid_exists(told["of"]):
            server.terminate()
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return
