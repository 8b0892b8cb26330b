from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from execution.context import Context
from tasks.ingest import ingest_inbox, ingest_paths
from tasks.ingest.inbox import watch_inbox
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened


def test_the_inbox_is_emptied_into_done(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS[:3]))
    (inbox / "b.jsonl.part").write_bytes(lines_of(ROWS[3:]))
    assert ingest_inbox(Context(settings, ledger)).total("accepted") == 3
    assert [entry.name for entry in inbox.iterdir() if entry.is_file()] == ["b.jsonl.part"]
    assert [entry.name[13:] for entry in (inbox / "done").iterdir()] == ["a.jsonl"]
    assert ingest_inbox(Context(settings, ledger)).files == []


def test_a_file_taken_but_not_yet_moved_is_only_moved(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    ingest_paths(Context(settings, ledger), [inbox / "a.jsonl"])
    assert ingest_inbox(Context(settings, ledger)).files[0].known_before
    assert list(inbox.glob("*.jsonl")) == []
    assert adds_up(ledger, 7)


def test_a_file_put_in_under_the_name_of_one_that_is_being_read_is_taken_too(
    tmp_path: Path,
) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    feed, part = inbox / "feed.jsonl", inbox / "feed.jsonl.part"
    feed.write_bytes(lines_of(ROWS[:3]))
    part.write_bytes(lines_of(ROWS[3:]))
    first = ingest_inbox(
        Context(settings, ledger), lambda *_: part.exists() and os.replace(part, feed)
    )
    assert (first.total("accepted"), first.files[0].name) == (3, str(feed))
    assert ingest_inbox(Context(settings, ledger)).total("accepted") == 4
    assert len(list((inbox / "done").iterdir())) == 2
    assert list((inbox / ".taking").iterdir()) == []
    assert {edit.source for edit in ledger.edits.find()} == {"feed.jsonl"}
    assert adds_up(ledger, 7)


TAKES = """
import os, signal, sys
from pathlib import Path
from config import load
from execution.context import Context
from ledger import Ledger
from tasks.ingest import ingest_inbox
settings = load(Path(sys.argv[1]))
ledger = Ledger.open(settings.paths.ledger)
print("ready", flush=True)
sys.stdin.readline()
ingest_inbox(Context(settings, ledger), eval(sys.argv[2]))
"""


def taker(home: Path, progress: str = "None") -> subprocess.Popen[bytes]:
    """A process that takes the inbox in when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES, str(home), progress],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_killed_process_had_claimed_is_taken_up_by_the_next(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    killed = taker(tmp_path, "lambda *_: os.kill(os.getpid(), signal.SIGKILL)")
    killed.communicate(b"\n")
    assert killed.returncode == -9
    assert list(inbox.glob("*.jsonl")) == []
    assert [file.name for file in ingest_inbox(Context(settings, ledger)).files] == [
        str(inbox / "a.jsonl")
    ]
    assert [entry.name[13:] for entry in (inbox / "done").iterdir()] == ["a.jsonl"]
    assert adds_up(ledger, 7)


def test_two_processes_share_an_inbox(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    settings.paths.inbox.mkdir()
    for number in range(12):
        rows: list[dict[str, object]] = [{"prompt": f"Is {number}?", "target": "yes"}]
        (settings.paths.inbox / f"{number}.jsonl").write_bytes(lines_of(rows))
    both = [taker(tmp_path), taker(tmp_path)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert len(list((settings.paths.inbox / "done").iterdir())) == 12
    assert adds_up(ledger, 12)


def test_a_file_that_can_not_be_moved_holds_up_no_other(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    settings.paths.inbox.mkdir()
    long = "a" * 249 + ".jsonl"
    (settings.paths.inbox / long).write_bytes(lines_of(ROWS[:3]))
    (settings.paths.inbox / "b.jsonl").write_bytes(lines_of(ROWS[3:]))
    with pytest.raises(OSError, match="File name too long"):
        ingest_inbox(Context(settings, ledger))
    assert adds_up(ledger, 7)


def test_the_watched_inbox_takes_what_arrives(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    arrivals = watch_inbox(Context(settings, ledger))
    assert next(arrivals).files == []
    (settings.paths.inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    assert next(arrivals).total("accepted") == 7
    arrivals.close()
