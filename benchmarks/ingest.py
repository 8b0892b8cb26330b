"""How fast reports become ledger rows: validated, de-duplicated, grouped for contradictions.

    melo bench ingest --rows 1000000

writes NDJSON of one report a line (some malformed, some twice, some contradicting another), takes
it in, takes it in once more (all duplicates then), and a tenth of it into a ledger of its own for
the cost ratio. Each run is a process of its own, so that its peak memory is its own.

What DuckDB alone needs for the same file is measured beside it, since machines and their neighbours
differ: two bare inserts, each one statement into a table with a hash as its key, ON CONFLICT DO NOTHING,
the file opened and closed as the ledger does.

    bare insert             what a ledger must keep: each line as it came, and its fields
    bare insert of fields   the fields alone

Each shape of another tool whose export is lines is taken in besides (benchmarks/shape_rows.py), into a
ledger of its own; where a row names another one, half of the rows are the ones named.
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

import duckdb
import pyarrow as pa

from benchmarks.shape_rows import SHAPES, write_rows
from config import load
from execution.context import Context
from ledger import Ledger
from tasks.ingest import IngestOptions, ingest_paths

FIELDS = {
    "prompt": "VARCHAR",
    "target": "VARCHAR",
    "subject": "VARCHAR",
    "old_answer": "VARCHAR",
    "rephrases": "VARCHAR[]",
    "locality": "STRUCT(prompt VARCHAR, answer VARCHAR)[]",
    "source": "VARCHAR",
}
SHAPE = dict.fromkeys(FIELDS, "VARCHAR") | {
    "rephrases": ["VARCHAR"],
    "locality": [{"prompt": "VARCHAR", "answer": "VARCHAR"}],
}
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


def take(paths: list[Path], home: Path, again: bool) -> dict[str, Any]:
    """Take files into the ledger of `home`; seconds, counts and this process's peak memory."""
    settings = load(home)
    pa.array([0])  # brings in what pyarrow loads at its first array: imports are not counted
    started = time.perf_counter()
    ledger = Ledger.open(settings.paths.ledger)
    outcome = ingest_paths(Context(settings, ledger), paths, IngestOptions(again=again))
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


def insert(path: Path, database: Path, *, with_raw: bool) -> dict[str, Any]:
    """Let DuckDB alone insert the file; seconds. with_raw: store each line as it came, too."""
    names = ", ".join(FIELDS)
    types = ", ".join(f"{name} {kind}" for name, kind in FIELDS.items())
    options = "format = 'newline_delimited', ignore_errors = true"
    if with_raw:
        shape = json.dumps(SHAPE)
        fields = ", ".join(f"f.{name}" for name in FIELDS)
        select = (
            f"SELECT sha256(concat(f.prompt, chr(31), f.target)), raw, {fields} FROM ("
            "SELECT json::VARCHAR AS raw, from_json(json, $shape) AS f "
            f"FROM read_json_objects($path, {options}))"
        )
        parameters = {"shape": shape, "path": str(path)}
    else:
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in FIELDS.items())
        select = (
            f"SELECT sha256(concat(prompt, chr(31), target)), {names} "
            f"FROM read_json($path, {options}, columns = {{{columns}}})"
        )
        parameters = {"path": str(path)}
    raw = "raw VARCHAR USING COMPRESSION zstd, " if with_raw else ""
    started = time.perf_counter()
    with duckdb.connect(str(database), config={"threads": 2}) as con:
        con.execute(f"CREATE TABLE reports (id VARCHAR PRIMARY KEY, {raw}{types})")
        con.execute(f"INSERT INTO reports {select} ON CONFLICT DO NOTHING", parameters)
    return {"seconds": time.perf_counter() - started}


def bench_shapes(rows: int) -> dict[str, int]:
    """Rows a second of each shape whose export is lines, each taken in by a process of its own.

    Raises ValueError where a row did not end as it should.
    """
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SHAPES:
            place = Path(folder, name)
            place.mkdir()
            reports = write_rows(place, name, rows)
            done = _run_ingest(place, Path(folder, f"{name}-home"), again=False)
            if done["lines"] != rows or done["counts"].get("ready") != reports:
                raise ValueError(
                    f"{name}: {rows} rows became {done['counts']}, not {reports} edits"
                )
            speeds[name] = round(done["lines"] / done["seconds"])
    return speeds


def bench(rows: int, shape_rows: int) -> dict[str, Any]:
    """The record that `melo bench ingest` prints."""
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.jsonl"), Path(folder, "small.jsonl")
        write_reports(large, rows)
        write_reports(small, max(rows // 10, 1))
        few = _run_ingest(small, Path(folder, "few"), again=False)
        first = _run_ingest(large, Path(folder, "many"), again=False)
        bare = _run_insert(large, Path(folder, "bare.duckdb"), with_raw=True)
        fields = _run_insert(large, Path(folder, "fields.duckdb"), with_raw=False)
        repeated = _run_ingest(large, Path(folder, "many"), again=True)
    shapes = bench_shapes(shape_rows)
    return {
        "rows": rows,
        "rows_per_second": round(first["lines"] / first["seconds"]),
        "ratio_to_bare_insert": round(bare["seconds"] / first["seconds"], 3),
        "bare_insert_rows_per_second": round(rows / bare["seconds"]),
        "ratio_to_bare_insert_of_fields": round(fields["seconds"] / first["seconds"], 3),
        "duplicate_rows_per_second": round(repeated["lines"] / repeated["seconds"]),
        "peak_mb": round(max(first["peak_mb"], repeated["peak_mb"])),
        "cost_ratio": round(
            (first["seconds"] / first["lines"]) / (few["seconds"] / few["lines"]), 3
        ),
        "cpu_seconds": round(first["cpu_seconds"], 1),
        "duplicate_cpu_seconds": round(repeated["cpu_seconds"], 1),
        "counts": repeated["counts"],
        "contradictions": repeated["contradictions"],
        "shape_rows": shape_rows,
        "shape_rows_per_second": shapes,
        "slowest_shape_rows_per_second": min(shapes.values()),
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
    }


def _run_ingest(path: Path, home: Path, *, again: bool) -> dict[str, Any]:
    return _run("again" if again else "take", path, home)


def _run_insert(path: Path, database: Path, *, with_raw: bool) -> dict[str, Any]:
    return _run("insert-whole" if with_raw else "insert-fields", path, database)


def _run(what: str, path: Path, place: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ingest", what, str(path), str(place)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    what, file, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what.startswith("insert"):
        print(json.dumps(insert(file, target, with_raw=what == "insert-whole")))
    else:
        print(json.dumps(take([file], target, what == "again")))
