"""How fast reports become ledger rows: validated, de-duplicated, grouped for contradictions.

    melo bench ingest --rows 1000000

writes NDJSON of one report a line (some malformed, some twice, some contradicting another), takes
it in, takes it in once more (all duplicates then), and a tenth of it into a ledger of its own for
the cost ratio. Each run is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from config import load
from ledger import Ledger
from tasks.ingest import ingest_paths

MAKERS = ("Volvo", "Fiat", "Tatra", "Saab", "Lada", "Opel", "Seat", "Dacia", "Skoda", "Trabant")


def write_reports(path: Path, rows: int, seed: int = 0) -> None:
    """Write `rows` lines: 0.5% malformed, 6% said before, 6% contradicting one said before."""
    random = Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            kind = random.random()
            if kind < 0.005:
                file.write('{"prompt": "cut off in the mid\n')
                continue
            subject = number if kind < 0.88 or number < 10 else random.randrange(number)
            answer = subject if kind < 0.94 else subject + 1
            name = f"model {subject * 7919 % 1_000_003} series {subject}"
            file.write(
                json.dumps(
                    {
                        "prompt": f"Which company built the {name}?",
                        "target": f"{MAKERS[answer % 10]} {answer % 997}",
                        "subject": name,
                        "old_answer": "nobody",
                        "rephrases": [f"Who was the maker of the {name}?"],
                        "locality": [
                            {"prompt": f"who sang song number {subject % 5000}?", "answer": "Abba"}
                        ],
                        "source": f"feed-{random.randrange(20)}",
                    }
                )
            )
            file.write("\n")


def take(path: Path, home: Path, again: bool) -> dict[str, Any]:
    """Take one file into the ledger of `home`; seconds, counts and this process's peak memory."""
    settings = load(home)
    started = time.perf_counter()
    ledger = Ledger.open(settings.paths.ledger)
    outcome = ingest_paths(ledger, [path], settings, again=again)
    ledger.close()
    seconds = time.perf_counter() - started
    lines, counts = outcome.total("lines"), ledger.counts()
    assert sum(counts.counts.values()) == counts.lines
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "lines": lines,
        "counts": counts.counts,
        "contradictions": counts.contradictions,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def bench(rows: int) -> dict[str, Any]:
    """The record that `melo bench ingest` prints."""
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.jsonl"), Path(folder, "small.jsonl")
        write_reports(large, rows)
        write_reports(small, max(rows // 10, 1))
        few = _apart(small, Path(folder, "few"), again=False)
        first = _apart(large, Path(folder, "many"), again=False)
        second = _apart(large, Path(folder, "many"), again=True)
    return {
        "rows": rows,
        "rows_per_second": round(first["lines"] / first["seconds"]),
        "duplicate_rows_per_second": round(second["lines"] / second["seconds"]),
        "peak_mb": round(max(first["peak_mb"], second["peak_mb"])),
        "cost_ratio": round(
            (first["seconds"] / first["lines"]) / (few["seconds"] / few["lines"]), 3
        ),
        "cpu_seconds": round(first["cpu_seconds"], 1),
        "duplicate_cpu_seconds": round(second["cpu_seconds"], 1),
        "counts": second["counts"],
        "contradictions": second["contradictions"],
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
    }


def _apart(path: Path, home: Path, *, again: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest", str(path), str(home), str(int(again))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(take(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1")))
