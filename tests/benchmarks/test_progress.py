"""Progress of a benchmark whose error stream is a file."""

from __future__ import annotations

import io

from benchmarks.progress import lines_to


def said(every: float) -> list[str]:
    stream = io.StringIO()
    report = lines_to(stream, every)
    for done in range(5):
        report("training blocks", done, 4)
    report("scoring", 0, 2)
    return [line.split("s  ")[1] for line in stream.getvalue().splitlines()]


def test_a_log_shows_the_first_and_the_last_report_of_each_step() -> None:
    assert said(every=1e9) == ["training blocks 0/4", "training blocks 4/4", "scoring 0/2"]


def test_a_log_shows_what_lies_between_as_time_passes() -> None:
    steps = [f"training blocks {done}/4" for done in range(5)]
    assert said(every=0.0) == [*steps, "scoring 0/2"]
