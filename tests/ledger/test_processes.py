"""Shortened; at full length: `melo bench kill` and `melo bench contention`."""

from __future__ import annotations

from benchmarks.contention import contend
from benchmarks.kill import kill


def test_many_processes_on_one_file_lose_double_and_fail_nothing() -> None:
    record = contend(processes=4, transactions=10)
    assert (record["lost"], record["doubled"], record["failed"]) == (0, 0, 0)
    assert record["transactions"] == 40


def test_killed_processes_leave_every_line_accounted_for_once() -> None:
    record = kill(kills=3, lines=1200, seed=1)
    assert record["problems"] == []
    assert record["lines"] == 1800
