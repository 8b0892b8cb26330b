"""Where Prefect lives: in the home, on a server of this run's own, unless one is named that answers.

    use(home)   before the first import of prefect, which reads its settings then
    start()     the server comes up while something else is being done, most of a first flow's time
    wait()      until it is up

The server runs in a session of its own, so that Ctrl-C in a terminal ends the run and not first the
server that the run reports to; it ends with the run, however that ends. It stands in the folder of its
database, which is named without its path: a home may be called anything, and be moved.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from config import Settings
from config.environment import drop_outer_variables, exempt_loopback
from execution import prefect_database
from execution.errors import ServerProblem
from execution.ports import free_port

DATABASE = f"sqlite+aiosqlite:///{prefect_database.NAME}"  # in the folder that the server stands in
SERVER = Path(__file__).with_name("prefect_server.py")
STARTING = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
NAMED = ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
PATIENCE = 5.0  # seconds for a server that is named to answer

_servers: list[PrefectServer] = []


def use(settings: Settings) -> None:
    """Set what Prefect reads at its import: what an outer job left over goes, wishes stay."""
    exempt_loopback(os.environ)
    drop_outer_variables(os.environ)
    home = settings.paths.prefect
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = settings.prefect_database or DATABASE
    defaults = {
        STARTING: "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "true",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def start(settings: Settings, say: Callable[[str], None]) -> None:
    """Begin to start a server; call `wait` before a flow.

    say: told where PREFECT_API_URL names a server that is not there.
    """
    if _servers:
        return
    url = os.environ.get("PREFECT_API_URL")
    if url and _answers(url):
        return
    if url:
        place = url.rpartition("@")[2]  # without a password
        say(f"no Prefect server answers at PREFECT_API_URL, {place}; this run has one of its own.")
    for name in NAMED:
        os.environ.pop(name, None)
    _end_orphan(_note(settings))
    server = PrefectServer(settings)
    _servers.append(server)
    server.begin()
    os.environ["PREFECT_API_URL"] = server.url


def wait() -> None:
    """Return once the server that `start` began to start is up; at once where there is none.

    Raises ServerProblem where it does not come up.
    """
    for server in _servers:
        server.wait()


@contextlib.contextmanager
def without_heartbeats() -> Iterator[None]:
    """Let flows end at once on a run's own server; on one that is named they say that they live.

    A heartbeat holds each flow up at its end, for a second at most, and that server ends with the run.
    """
    if not _servers:
        yield
        return
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@dataclass
class PrefectServer:
    """Prefect's server for one run, without its pages. It ends with this process."""

    settings: Settings
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    guard: subprocess.Popen[bytes] | None = None  # kept: a forgotten one would close its pipe
    deadline: float = math.inf

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def log(self) -> Path:
        """What it says of errors."""
        return self.settings.paths.log("run-server").absolute()

    def begin(self) -> None:
        """Start the process; `wait` returns once it is healthy."""
        self.port = free_port()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        prefect = importlib.util.find_spec("prefect")
        if prefect is None or prefect.origin is None:
            raise ServerProblem("prefect is not installed; install the project again.")
        folder = self.settings.paths.prefect
        kept, current = "", False
        if os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == DATABASE:
            fresh = not (folder / prefect_database.NAME).exists()
            current = prefect_database.provide(folder)
            kept = str(prefect_database.template()) if fresh and not current else ""
        where = (str(self.port), str(Path(prefect.origin).parent.parent), kept)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(SERVER), *where],
                cwd=folder,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONIOENCODING": "utf-8",
                    "PREFECT_UI_ENABLED": "0",
                    # No run asks for blocks; the server of `melo up` registers them.
                    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
                    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
                    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": str(not current).lower(),
                    "PREFECT__SERVER_EPHEMERAL": "1",
                    "PREFECT__SERVER_FINAL": "1",
                },
            )
        self.guard = _guard(self.process.pid)
        atexit.register(self.end)
        _write(_note(self.settings), self.process.pid)
        self.deadline = time.monotonic() + float(os.environ.get(STARTING) or 120)

    def wait(self) -> None:
        """Return once it is up. Raises ServerProblem where it does not come up."""
        while not _healthy(self.port):
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > self.deadline:
                raise ServerProblem(f"Prefect's server did not come up; see {self.log}.")
            time.sleep(0.1)

    def end(self) -> None:
        """End it, at the latest after some seconds."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _healthy(port: int) -> bool:
    """Whether it answers. Asked without a library that would look for a proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _answers(url: str) -> bool:
    """Whether a Prefect server is at a URL, or one that wants a key that it then asks for itself."""
    import httpx

    try:
        if urlsplit(url).netloc.endswith("prefect.cloud"):
            return True
        status = httpx.get(f"{url.rstrip('/')}/health", timeout=PATIENCE).status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return status in (200, 401, 403)


def _note(settings: Settings) -> Path:
    return settings.paths.state("ephemeral.json")


def _write(note: Path, pid: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended already
        born = psutil.Process(pid).create_time()
        content = json.dumps({"pid": pid, "born": born, "of": os.getpid()})
        note.write_text(content, encoding="utf-8")


def _guard(server: int) -> subprocess.Popen[bytes]:
    """Let the server end with this process, however that ends: a pipe to a small shell closes."""
    return subprocess.Popen(
        ["sh", "-c", 'read _; kill "$0" 2>/dev/null', str(server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _end_orphan(note: Path) -> None:
    """End the server of a run that was killed before it could do so itself."""
    try:
        record = json.loads(note.read_text(encoding="utf-8"))
        server = psutil.Process(record["pid"])
        if abs(server.create_time() - record["born"]) < 1 and not psutil.pid_exists(record["of"]):
            server.terminate()
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return
