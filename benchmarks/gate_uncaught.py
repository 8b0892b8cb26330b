"""What a gate of very many probes costs where no edit is about any of them.

    1,000 edits, the champion; 50 more, the candidate      random blocks, real keys, opened from disk
    a suite of N questions about names that no edit has    written as a file, as a home keeps it
    read and gated, nothing known before                   timed, with the memory it took

No probe is caught, so no text is made but for the audit's sample; what is left is reading the suite,
finding that nothing in it can be touched, and giving each probe its result.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.engine import ran_on
from benchmarks.gate import without_floors
from benchmarks.random_versions import grown, prompt_about
from benchmarks.scale import child
from melo_engine import Backbone, Editor, Version
from tasks.gate import AnswerCache, GateOptions, gate_candidate
from tasks.gate.suites.files import load_suite

UNKNOWN = 10_000_000  # numbers from here on belong to no edit
ROWS = 10_000  # written at a time


def bench(probes: int, edits: int, new: int, backbone_path: Path | str) -> dict[str, Any]:
    """The record that `melo bench gate --uncaught` prints. Sizes are numbers of probes and edits."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        child("build", Path(backbone_path), edits, scratch)
        backbone = Backbone.open(backbone_path)
        champion = Version.load(folder / "version", backbone, folder / "shards")
        candidate = grown(backbone, champion, new)
        before = _memory()
        _write(folder / "asked.parquet", probes)
        with AnswerCache.open(folder / "answers.sqlite") as cache:
            began, cpu = time.perf_counter(), time.process_time()
            suite = load_suite(folder, "asked")
            read = time.perf_counter() - began
            result = gate_candidate(
                Editor(backbone, champion),
                candidate,
                champion,
                suites=[suite],
                cache=cache,
                options=GateOptions(without_floors(audited=True)),
            )
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "probes": len(result.probes),
        "edits": len(candidate),
        "new_edits": new,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "reading_seconds": round(read, 1),
        "peak_gb": _memory(),
        "before_gb": before,
        "caught": sum(p.edit is not None for p in result.probes),
        "generated": result.regenerated,
        "passed": result.passed,
        "verdict": result.reason,
        **ran_on(backbone),
    }


def _memory() -> float:
    """The most that this process has taken so far, in GB: at first the model and both versions."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _write(path: Path, probes: int) -> None:
    """A suite of so many questions, a part at a time: what writing takes is not the gate's."""
    schema = pa.schema([("prompt", pa.string())])
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, probes, ROWS):
            prompts = [prompt_about(UNKNOWN + i) for i in range(start, min(start + ROWS, probes))]
            file.write_table(pa.table({"prompt": prompts}, schema=schema))
