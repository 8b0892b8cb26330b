"""Ctrl-C, SIGTERM and a terminal that closes, at many moments of a real run: 128 + n, and soon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from config import Settings
from tests.conftest import report, write_lines

ROOT = Path(__file__).parents[2]
MELO = [sys.executable, "-m", "cli.main"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "MELO"))}
ENDS = 10.0  # seconds
Moment = Callable[[Path], bool]


def begun(home: Settings, path: Path) -> subprocess.Popen[str]:
    """A run in a process group of its own, as in a terminal."""
    return subprocess.Popen(
        [*MELO, "--home", str(home.home), "run", str(path)],
        env=CLEAN,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heard,
    )


def heard() -> None:
    """A test under nohup, or in the background of a shell, would hand on what it ignores."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def melo(home: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    return subprocess.run(
        [*MELO, "--home", str(home.home), *arguments],
        env=CLEAN,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )


def counts(home: Settings) -> dict[str, int]:
    """Edits by their state; empty where the run has made no ledger yet."""
    told = melo(home, "status", "--json")
    return json.loads(told.stdout).get("counts", {}) if told.returncode == 0 else {}


def at_once(home: Path) -> bool:
    """The run is loading what it needs."""
    return (home / "run" / "place.json").exists()


def server_begun(home: Path) -> bool:
    return (home / "run" / "ephemeral.json").exists()


def taken_in(home: Path) -> bool:
    return (home / "read" / "ledger.duckdb").exists()


def gated(home: Path) -> bool:
    return any(home.glob("reports/*/gate.json"))


def registering(home: Path) -> bool:
    return any(home.glob("artifacts/*/artifacts/edits.json"))


def server_of(home: Settings) -> psutil.Process:
    return psutil.Process(json.loads((home.home / "run/ephemeral.json").read_text())["pid"])


def wait_for(moment: Moment, home: Settings, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not moment(home.home) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.poll() is None, run.communicate()


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of a run that has been told to end."""
    try:
        _, err = run.communicate(timeout=ENDS)
    finally:
        run.kill()
    return run.returncode, err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "moment", "after"),
    [
        (signal.SIGTERM, server_begun, 0.5),
        (signal.SIGINT, gated, 0.0),
        (signal.SIGINT, gated, 0.4),
        (signal.SIGHUP, gated, 0.2),
        (signal.SIGTERM, registering, 0.5),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", str(value))),
)
def test_a_signal_ends_a_run_at_any_moment_and_the_next_one_finishes_and_says_so(
    home: Settings, tmp_path: Path, number: signal.Signals, moment: Moment, after: float
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [report(0), report(1)])
    run = begun(home, path)
    wait_for(moment, home, run)
    time.sleep(after)
    run.send_signal(number)
    code, err = ended(run)
    assert code == 128 + number, err
    assert err.splitlines()[-1:] == ["melo: stopped; nothing already recorded is lost."]
    assert "Traceback" not in err
    if server_begun(home.home):
        psutil.wait_procs([p for p in [_server(home)] if p], timeout=30)
        assert _server(home) is None
    was_done = counts(home) == {"active": 2}  # the signal came after the last step
    again = melo(home, "run", str(path))
    assert again.returncode == 0, again.stderr
    assert ("Nothing waits" in again.stdout) == was_done
    assert counts(home) == {"active": 2}


def _server(home: Settings) -> psutil.Process | None:
    try:
        return server_of(home)
    except psutil.NoSuchProcess:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_server_is_gone(
    home: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    run = begun(home, write_lines(tmp_path / "in.jsonl", [report(0)]))
    wait_for(taken_in, home, run)
    server_of(home).kill()
    time.sleep(1.0)
    run.send_signal(number)
    assert ended(run)[0] == 128 + number


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_reaches_the_run_and_not_its_server_first(
    home: Settings, tmp_path: Path
) -> None:
    run = begun(home, write_lines(tmp_path / "in.jsonl", [report(0)]))
    wait_for(taken_in, home, run)
    os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to the whole group
    code, err = ended(run)
    assert (code, err) == (130, "melo: stopped; nothing already recorded is lost.\n")


@pytest.mark.slow
def test_a_library_that_swallows_the_interrupt_changes_nothing() -> None:
    script = (
        "import time\nfrom console import signals\nsignals.listen(); signals.arm(1.0)\n"
        "while True:\n"
        "    try:\n        print('ready', flush=True)\n        time.sleep(60)\n"
        "    except BaseException:\n        pass\n"
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=heard,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        code, err = ended(process)
        assert (code, err) == (128 + number, "melo: stopped; nothing already recorded is lost.\n")


def test_what_is_ignored_stays_ignored_as_under_nohup() -> None:
    script = (
        "import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from console import signals\nsignals.listen(); signals.arm(0.1)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\nprint('on it goes')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, "on it goes\n")
