"""Only what may pass by itself is tried again."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import httpx
import pytest
import torch

from benchmarks.deployment import clean_environment
from benchmarks.fault_injection import HOLD
from config import Settings
from execution.context import Context, open_ledger
from execution.errors import TaskError
from execution.failures import working_on
from execution.leases import Handback, hand_back, heartbeat, lease
from execution.retries import FailureKind, fault_of, fills_a_disk, passes
from execution.versions import Versions
from ledger import Ledger, LedgerError
from melo_engine import Version
from melo_engine.errors import VersionError
from tasks.edit import edit_job
from tasks.ingest.errors import IngestError
from tasks.ingest.files import find_files
from tasks.judge import judge
from tasks.plan import plan
from tests.conftest import report
from tests.e2e.services import free_port
from tests.pipeline import promoted, take

AWAY = """
import os, sys
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
from mlflow import MlflowClient
from execution.retries import passes
try:
    MlflowClient(sys.argv[1]).get_registered_model("none")
except Exception as error:
    print(passes(error))
"""


def test_a_server_that_is_away_may_come_back() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(httpx.ConnectError) as caught:
        httpx.get(url)
    assert passes(caught.value)
    done = subprocess.run(
        [sys.executable, "-c", AWAY, url],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=clean_environment(),
    )
    assert done.stdout.strip() == "True", done.stderr


def test_a_ledger_that_another_program_holds_may_be_let_go(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path).close()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path, "60"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with pytest.raises(LedgerError) as caught:
            Ledger.open(path, timeout=0.2)
    finally:
        holder.kill()
        holder.wait()
    assert passes(caught.value)


def test_a_full_disk_may_be_freed_but_not_within_seconds() -> None:
    try:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"0")
    except OSError as error:
        cause = error
    wrapped = RuntimeError("the version can't be written")
    wrapped.__cause__ = cause
    assert cause.errno == errno.ENOSPC
    assert passes(wrapped)
    assert fills_a_disk(wrapped)


def fill_duckdb() -> None:
    duckdb.sql(
        "COPY (SELECT range FROM range(1000000)) TO '/dev/full' (FORMAT csv, USE_TMP_FILE false)"
    )


def fill_sqlite() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE texts AS SELECT hex(randomblob(100000))")


@pytest.mark.parametrize("fill", [fill_duckdb, fill_sqlite])
def test_a_full_disk_is_known_by_what_a_library_says_of_it(fill: Callable[[], None]) -> None:
    with pytest.raises((duckdb.Error, sqlite3.Error)) as caught:
        fill()
    assert passes(caught.value)
    assert fills_a_disk(caught.value)
    assert fault_of(caught.value) is FailureKind.NOT_ITS


def test_bad_input_stays_bad(tmp_path: Path) -> None:
    errors: list[Exception] = []
    for attempt in (
        lambda: find_files([tmp_path / "none.jsonl"]),
        lambda: Version.load(tmp_path),
        lambda: (tmp_path / "none").read_text(),
        lambda: duckdb.sql("SELECT nothing FROM nowhere"),
    ):
        with pytest.raises((IngestError, VersionError, OSError, duckdb.Error)) as caught:
            attempt()
        errors.append(caught.value)
    errors += [TaskError("no backbone is set"), ValueError("x"), PermissionError(errno.EACCES, "x")]
    assert [error for error in errors if passes(error)] == []


def test_a_shortage_of_the_machine_is_not_held_to_be_the_jobs_own_fault() -> None:
    def too_large() -> object:
        return torch.empty(2**60)

    def too_many() -> object:
        return os.open(".", os.O_RDONLY)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as files:
            too_many()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with pytest.raises(RuntimeError) as memory:
        too_large()
    assert [fault_of(e.value) for e in (files, memory)] == [
        FailureKind.DOUBTFUL,
        FailureKind.DOUBTFUL,
    ]
    assert fault_of(ValueError("x")) is fault_of(IsADirectoryError(21, "x")) is FailureKind.OWN
    assert fault_of(PermissionError(errno.EACCES, "x")) is FailureKind.NOT_ITS
    assert fault_of(ConnectionError("x")) is fault_of(SystemExit(143)) is FailureKind.NOT_ITS


def test_a_heartbeat_goes_on_when_the_ledger_can_be_written_again(
    home: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_ledger(home)
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    short = home.model_copy(update={"plan": home.plan.model_copy(update={"lease_seconds": 3.0})})
    ref = lease(Context(short, ledger))
    assert ref is not None
    before = ledger.jobs.get(ref.id).lease_until
    path = home.paths.ledger
    aside = path.with_suffix(".aside")
    with heartbeat(Context(short, ledger), ref):
        path.rename(aside)
        path.mkdir()  # where a folder stands no ledger can be opened
        while "was not prolonged" not in caplog.text:
            time.sleep(0.05)
        path.rmdir()
        aside.rename(path)
        while ledger.jobs.get(ref.id).lease_until == before:
            time.sleep(0.05)
    assert ledger.jobs.get(ref.id).state == "leased"


def test_a_try_that_ended_for_reasons_of_its_own_counts_and_others_do_not(home: Settings) -> None:
    ledger = open_ledger(home)
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    most = home.plan.max_attempts
    for _ in range(most + 2):
        ref = lease(Context(home, ledger))
        assert ref is not None
        assert (
            hand_back(Context(home, ledger), ref, "disk full", FailureKind.NOT_ITS)
            is Handback.POSTPONED
        )
    for attempt in range(most):
        ref = lease(Context(home, ledger))
        assert ref is not None
        became = hand_back(Context(home, ledger), ref, "its block breaks down")
        assert became is (Handback.SET_ASIDE if attempt == most - 1 else Handback.TRIED_AGAIN)
    assert ledger.counts().counts == {"rejected": 1}
    take(home, ledger, report(1))
    promoted(home, ledger)
    assert os.path.exists(home.paths.ledger)


def break_thresholds(home: Settings) -> None:
    assert home.gate.thresholds is not None
    Path(home.gate.thresholds).write_text("suites: [none]\n")


def break_answers(home: Settings) -> None:
    for file in home.paths.answers.parent.glob(f"{home.paths.answers.name}*"):
        file.unlink()
    home.paths.answers.write_bytes(b"no database" * 1000)


def break_blocks(home: Settings) -> None:
    for file in home.paths.shards.glob("*/blocks*"):
        file.write_bytes(file.read_bytes()[:-8] + b"\xff" * 8)
    Versions.forget_opened()


def break_suites(home: Settings) -> None:
    home.paths.suites.write_text("a file, where a folder is expected")


@pytest.mark.parametrize("damage", [break_thresholds, break_answers, break_blocks, break_suites])
def test_no_edit_is_rejected_for_what_is_wrong_with_the_home(
    home: Settings, damage: Callable[[Settings], None]
) -> None:
    ledger = open_ledger(home)
    take(home, ledger, report(0))
    promoted(home, ledger)
    take(home, ledger, report(1))
    context = Context(home, ledger)
    plan(context)
    damage(home)
    for _ in range(home.plan.max_attempts + 1):
        ref = lease(context)
        assert ref is not None
        with pytest.raises(Exception, match=r"."), working_on(context, ref):
            judge(context, ref, edit_job(context, ref))
    assert ledger.counts().counts == {"active": 1, "planned": 1}
