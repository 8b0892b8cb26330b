from __future__ import annotations

import math

import pytest

from ledger import ChampionMoved, Ledger, ProbeRecord, SuiteVerdict, UnknownId
from tests.ledger.support import NOON, later, report, run_job, take


def add(ledger: Ledger, name: str, parent: str | None = None) -> None:
    ledger.versions.record(name, parent=parent, job_id=None, info={"rank": 4})


def test_a_version_is_found_by_a_prefix_and_recorded_once(ledger: Ledger) -> None:
    add(ledger, "abcdef")
    ledger.versions.record("abcdef", parent="later", job_id=None, info={"more": 1})
    ledger.versions.note("abcdef", {"less": 2}, registry_version="7")
    ledger.versions.note("abcdef", {"rank": None})
    (version,) = ledger.versions.all()
    assert ledger.versions.get("abcd") == version
    assert (version.parent, version.hash, version.registry_version) == (None, "abcdef", "7")
    assert version.info == {"more": 1, "less": 2}
    with pytest.raises(UnknownId):
        ledger.versions.get("zzzz")


def test_a_verdict_keeps_its_table_and_nan_is_missing(ledger: Ledger) -> None:
    add(ledger, "v1")
    rows = [
        SuiteVerdict("locality", "exact", 1.0, 1.0, True, 40, 0),
        SuiteVerdict("success", "exact", math.nan, 0.98, False, 0, 0),
    ]
    ledger.versions.record_verdict("v1", passed=False, reason="success is missing", suites=rows)
    assert ledger.versions.get("v1").verdict == "failed"
    assert ledger.versions.suite_verdicts("v1")[1].value is None
    with pytest.raises(UnknownId):
        ledger.versions.record_verdict("v2", passed=True, reason="x")


def test_the_latest_verdict_counts(ledger: Ledger) -> None:
    add(ledger, "v1")
    ledger.versions.record_verdict("v1", passed=False, reason="flaky", now=NOON)
    ledger.versions.record_verdict("v1", passed=True, reason="fine", now=later(hours=1))
    assert (ledger.versions.get("v1").verdict, ledger.versions.get("v1").reason) == (
        "passed",
        "fine",
    )


def test_probe_results_come_back_as_they_went_in(ledger: Ledger) -> None:
    add(ledger, "v1")
    results = [
        ProbeRecord(
            "near",
            f"p{n}",
            f"q{n}?",
            "a",
            "a",
            "b" if n == 3 else "a",
            n != 3,
            edit_id="e" if n == 3 else None,
            cached=n > 5,
            distance=n / 7,
        )
        for n in range(10)
    ]
    ledger.versions.record_probe_results("v1", results)
    ledger.versions.record_probe_results("v1", [])
    assert ledger.versions.probe_results("v1") == results
    assert ledger.versions.probe_results("v1", failed_only=True) == [results[3]]


def test_the_champion_moves_only_from_where_it_is_believed_to_be(ledger: Ledger) -> None:
    add(ledger, "v1")
    add(ledger, "v2", "v1")
    assert ledger.champions.current() is None
    ledger.champions.set("v1", expected=None, actor="gate", reason="first")
    with pytest.raises(ChampionMoved, match="is v1"):
        ledger.champions.set("v2", expected=None, actor="gate", reason="stale")
    ledger.champions.set("v2", expected="v1", actor="gate", reason="better")
    ledger.champions.set("v1", expected="v2", actor="ann", reason="rollback")
    assert [entry.version for entry in ledger.champions.history()] == ["v1", "v2", "v1"]
    with pytest.raises(UnknownId):
        ledger.champions.set("v9", expected="v1", actor="x", reason="x")


def test_the_time_from_report_to_active_can_be_asked(ledger: Ledger) -> None:
    take(ledger, [report("a?")], now=NOON)
    ledger.jobs.plan(now=later(minutes=10))
    run_job(ledger, "v1", now=later(minutes=30))
    with ledger.store.read() as con:
        assert con.execute("SELECT seconds FROM latency").fetchall() == [(1800.0,)]
        assert con.execute("SELECT * FROM queue").fetchall() == []
    assert ledger.edits.find()[0].version == "v1"


def test_events_are_kept_newest_first(ledger: Ledger) -> None:
    ledger.events.record("drift", "one", severity="warning")
    ledger.events.record("alert", "two", version="v1")
    assert [event.message for event in ledger.events.latest()] == ["two", "one"]
    assert [event.message for event in ledger.events.latest(kind="drift")] == ["one"]
