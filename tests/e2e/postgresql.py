"""A real PostgreSQL of the system's package, in a folder of its own, for the time of a block."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = "/usr/lib/postgresql/*/bin"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]


def programs() -> Path | None:
    """The folder of its programs, installed now where they are missing and that can be done."""
    if found := _programs():
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], INSTALL):
        done = subprocess.run(command, env=quiet, capture_output=True, check=False)
        if done.returncode != 0 and command is INSTALL:
            return None
    return _programs()


@contextlib.contextmanager
def postgresql(bin_folder: Path, password: str) -> Iterator[str]:
    """Its URL, with a database and a user named melo. It refuses to run as root: not done here."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data, secret, port = folder / "data", folder / "password", _free_port()
    secret.write_text(password)
    shutil.chown(folder, user)
    shutil.chown(secret, user)
    as_user = {"user": user} if os.geteuid() == 0 else {}
    subprocess.run(
        [
            bin_folder / "initdb",
            "-D",
            data,
            "-U",
            "melo",
            "-A",
            "scram-sha-256",
            "--no-sync",
            f"--pwfile={secret}",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **as_user,
    )
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            bin_folder / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
        ],
        stdout=log,
        stderr=log,
        cwd=folder,
        **as_user,
    )
    try:
        _wait(port, folder / "log")
        url = f"postgresql://melo:{password}@127.0.0.1:{port}"
        _make_database(f"{url}/postgres")
        yield f"{url}/melo"
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _make_database(url: str) -> None:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE melo")
    connection.close()


def _wait(port: int, log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            if b"ready to accept" in log.read_bytes():
                return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-500:]}")


def _programs() -> Path | None:
    found = [path for path in Path("/").glob(PROGRAMS[1:]) if (path / "initdb").exists()]
    return max(found, default=None)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
