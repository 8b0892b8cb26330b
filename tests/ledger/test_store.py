from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ledger import Ledger, LedgerBusy, LedgerError, LedgerTooNew, NotALedger, schema
from tests.ledger.support import report, take


def test_an_older_ledger_is_migrated_with_a_copy_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, every = tmp_path / "ledger.duckdb", schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: every[:1])
    Ledger.open(path).close()
    before = path.read_bytes()
    monkeypatch.setattr(schema, "migrations", lambda: every)
    with Ledger.open(path) as ledger:
        take(ledger, [report("a?")])
        assert ledger.audit() == []
    assert (tmp_path / "ledger.duckdb.v1.bak").read_bytes() == before


def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path).close()
    with duckdb.connect(str(path)) as con:
        con.execute("INSERT INTO schema_versions VALUES (999, now())")
    before = path.read_bytes()
    with pytest.raises(LedgerTooNew, match="999"):
        Ledger.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"\0" * 20_000])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(content)
    with pytest.raises(NotALedger):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_a_damaged_ledger_is_told_as_such_and_not_as_a_busy_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path).close()
    content = bytearray(path.read_bytes())
    for block in range(3 * 4096, len(content), 4096):
        content[block + 100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(NotALedger, match="checksum"):
        Ledger.open(path)


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE mine (x INTEGER)")
    with pytest.raises(NotALedger, match="not a ledger"):
        Ledger.open(path)


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    def fails() -> None:
        with ledger.store.write() as con:
            con.execute("INSERT INTO events VALUES (now(), 'a', 'b', 'c', NULL, NULL)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert ledger.events.latest() == []


def test_transactions_within_one_are_part_of_it(ledger: Ledger) -> None:
    def fails() -> None:
        with ledger.store.write():
            ledger.events.record("a", "inner")
            assert len(ledger.events.latest()) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert ledger.events.latest() == []


def test_the_read_copy_follows_the_ledger_and_is_never_half_written(tmp_path: Path) -> None:
    copy = tmp_path / "read" / "ledger.duckdb"
    with Ledger.open(tmp_path / "ledger.duckdb", read_copy=copy) as ledger:
        take(ledger, [report("a?")])
        take(ledger, [report("b?")])
    reader = Ledger.open(copy, read_only=True)
    assert reader.counts().lines == 2
    with pytest.raises(LedgerError, match="reading only"):
        reader.events.record("a", "b")
    assert [entry.name for entry in copy.parent.iterdir() if entry.name.startswith(".")] == []


def test_what_is_committed_is_told_as_such_though_the_read_copy_can_not_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, copy = tmp_path / "read", tmp_path / "read" / "ledger.duckdb"
    copy.mkdir(parents=True)  # a folder in its place: written beside it, never moved there
    with Ledger.open(tmp_path / "ledger.duckdb", read_copy=copy) as ledger:
        assert take(ledger, [report("a?")]).accepted == 1
        assert "can't be published" in caplog.text
        assert list(folder.iterdir()) == [copy]
        copy.rmdir()
        folder.rmdir()
        folder.write_text("no folder")
        ledger.store.publish()
        folder.unlink()
    assert Ledger.open(copy, read_only=True).counts().lines == 1


def test_what_a_process_left_that_died_while_publishing_goes_with_the_next_change(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "read" / "ledger.duckdb"
    copy.parent.mkdir()
    left, other = copy.with_name(".ledger.duckdb.4711"), copy.with_name(".other.duckdb.4711")
    for file in (left, other):
        file.write_bytes(b"half")
    with Ledger.open(tmp_path / "ledger.duckdb", read_copy=copy) as ledger:
        ledger.events.record("a", "b")
        assert not left.exists()
    assert sorted(copy.parent.iterdir()) == [other, copy]


def test_a_busy_file_is_waited_for_and_then_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path).close()
    hold = "import duckdb,sys; c=duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LedgerBusy, match="held by another program"):
            Ledger.open(path, timeout=0.3)
        other.communicate(b"\n")
    Ledger.open(path, timeout=5).close()


def test_the_connection_can_not_reach_other_files(ledger: Ledger, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with ledger.store.read() as con, pytest.raises(duckdb.PermissionException):
        con.execute(f"SELECT * FROM read_csv('{secret}')")


def test_a_missing_ledger_is_told_when_only_read(tmp_path: Path) -> None:
    with pytest.raises(NotALedger, match="does not exist"):
        Ledger.open(tmp_path / "none.duckdb", read_only=True)


def test_what_a_killed_process_had_committed_is_there_for_readers_and_writers(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.duckdb"
    Ledger.open(path).close()
    dies = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1])\n"
        "c.execute(\"INSERT INTO events VALUES (now(), 'a', 'b', 'kept', NULL, NULL)\")\n"
        "c.execute('BEGIN')\n"
        "c.execute(\"INSERT INTO events VALUES (now(), 'a', 'b', 'lost', NULL, NULL)\")\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", dies, str(path)], check=False)
    assert path.with_name("ledger.duckdb.wal").exists()
    reader = Ledger.open(path, read_only=True)
    assert [event.message for event in reader.events.latest()] == ["kept"]
    with Ledger.open(path) as ledger:
        ledger.events.record("a", "next")
        assert [event.message for event in ledger.events.latest()] == ["next", "kept"]
