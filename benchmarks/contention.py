"""Eight processes, one file: none of their transactions may be lost, doubled or fail.

melo bench contention --processes 8 --transactions 200
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ledger import Ledger


def contend(processes: int, transactions: int) -> dict[str, Any]:
    """The record that `melo bench contention` prints: lost, doubled, failed, and waiting times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.duckdb")
        Ledger.open(path).close()
        started = time.perf_counter()
        workers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.contention",
                    str(path),
                    str(n),
                    str(transactions),
                ],
                stdout=subprocess.PIPE,
            )
            for n in range(processes)
        ]
        waits: list[float] = []
        failed = 0
        for worker in workers:
            out, _ = worker.communicate()
            if worker.returncode != 0:
                failed += 1
                continue
            waits.extend(json.loads(out))
        seconds = time.perf_counter() - started
        messages = [event.message for event in Ledger.open(path).events.latest(limit=10**9)]
    expected = {f"{n}-{t}" for n in range(processes) for t in range(transactions)}
    waits.sort()
    return {
        "processes": processes,
        "transactions": processes * transactions,
        "lost": len(expected - set(messages)),
        "doubled": len(messages) - len(set(messages)),
        "failed": failed,
        "seconds": round(seconds, 2),
        "p50_seconds": round(waits[len(waits) // 2], 4) if waits else None,
        "max_seconds": round(waits[-1], 4) if waits else None,
    }


def work(path: Path, number: int, transactions: int) -> list[float]:
    """One process's transactions; how long each took from asking to done."""
    ledger = Ledger.open(path, timeout=600)
    waits = []
    for transaction in range(transactions):
        started = time.perf_counter()
        ledger.events.record("contention", f"{number}-{transaction}")
        waits.append(time.perf_counter() - started)
    return waits


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
