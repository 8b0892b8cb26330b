"""What routing, blocks, opening, registering and gating cost as edits grow.

    build    (a process)    random blocks, real keys ─► a version on disk
    measure  (a process)    opened, asked in turn with the bare backbone, grown by 50 edits:
                            the grown one gated over it, and registered in a real MLflow store

Blocks have random weights, since training is not the question here. Each size is measured in a
process of its own, so that peak memory is its own. Every answer has the same number of tokens, bare
or edited; throughput is the ratio of the two in the same run.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import BenchError
from benchmarks.random_versions import grown, prompt_about, random_version
from execution.context import Context
from execution.progress import Progress
from melo_engine import Backbone, Editor, Version

BATCH, TOKENS, ROUNDS = 32, 8, 12
NEW, PROBES = 50, 200  # edits of the grown version, prompts that it is gated on
UNKNOWN = 10_000_000  # numbers from here on belong to no edit


def bench(path: Path, sizes: Sequence[int], progress: Progress) -> dict[str, Any]:
    """Measure each size. path: the backbone's folder. Raises BenchError where a process fails."""
    rows = []
    for done, size in enumerate(sizes):
        with tempfile.TemporaryDirectory() as folder:
            child("build", path, size, folder)
            progress(f"{size:,} edits", 1, 2)
            rows.append(json.loads(child("measure", path, size, folder)))
            progress(f"{size:,} edits", 2, 2)
        progress("sizes", done + 1, len(sizes))
    flat = {
        name: round(min(r[name] for r in rows) / max(r[name] for r in rows), 3)
        for name in ("unrouted_ratio", "routed_ratio")
    }
    return {
        "batch": BATCH,
        "tokens": TOKENS,
        "threads": torch.get_num_threads(),
        "new_edits": NEW,
        "gated_on": PROBES,
        "scale": rows,
        "flat": flat,
    }


def build(path: Path, size: int, folder: Path) -> None:
    """Save a version of random blocks below `folder`, as a home keeps versions."""
    random_version(Backbone.open(path), size).save(folder / "version", folder / "shards")


def measure(path: Path, size: int, folder: Path) -> dict[str, Any]:
    """One size, from the version that `build` saved."""
    bare = Backbone.open(path)
    assert bare.weights_hash  # hashed once a process; not what opening a version costs
    assert bare.tokenizer_hash
    began = time.perf_counter()
    version = Version.load(folder / "version", bare, folder / "shards")
    len(version.index)
    opened = time.perf_counter() - began
    editor = Editor(bare, version)
    unrouted = [prompt_about(UNKNOWN + i) for i in range(BATCH)]
    step = max(1, size // BATCH)
    routed = [version.edits[k].request.question for k in list(version.edits)[::step][:BATCH]]
    routed = (routed * BATCH)[:BATCH]
    began = time.perf_counter()
    assert all(r.edit for r in editor.routes(routed))
    route_ms = 1000 * (time.perf_counter() - began) / BATCH
    assert not any(r.edit for r in editor.routes(unrouted))
    stored = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    row = {
        "edits": size,
        "unrouted_ratio": _ratio(editor, unrouted),
        "routed_ratio": _ratio(editor, routed),
        "route_ms": round(route_ms, 3),
        "open_seconds": round(opened, 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "bytes_per_edit": round(stored / size),
    }
    larger = grown(bare, version, NEW)
    row["gate_seconds"] = round(_gate_seconds(bare, version, larger, folder), 3)
    row["register_seconds"] = round(_register_seconds(path, bare, version, larger, folder), 3)
    return row


def _ratio(editor: Editor, prompts: list[str]) -> float:
    """Median over rounds of bare seconds / edited seconds, the two measured in turn."""
    fixed: dict[str, Any] = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}

    def bare() -> None:
        encoded = editor.backbone.encode(prompts)
        with torch.inference_mode():
            ids = editor.backbone.model.generate(**encoded, do_sample=False, num_beams=1, **fixed)
        for row in ids:
            editor.backbone.decode(row)

    def edited() -> None:
        editor.answer(prompts, batch_size=BATCH, **fixed)

    ratios = []
    for turn in range(ROUNDS + 2):
        took = {}
        for way in (bare, edited) if turn % 2 else (edited, bare):
            began = time.perf_counter()
            way()
            took[way] = time.perf_counter() - began
        if turn >= 2:  # the first rounds warm up
            ratios.append(took[bare] / took[edited])
    return round(statistics.median(ratios), 3)


def _gate_seconds(bare: Backbone, champion: Version, candidate: Version, folder: Path) -> float:
    """Seconds to gate the grown version on prompts of no edit, their keys and answers cached."""
    from benchmarks.gate import without_floors
    from tasks.gate import AnswerCache, GateOptions, Probe, Suite, gate_candidate

    prompts = [prompt_about(UNKNOWN + i) for i in range(PROBES)]
    suite = Suite("elsewhere", tuple(Probe(str(i), p) for i, p in enumerate(prompts)))
    editor = Editor(bare, champion)
    thresholds = without_floors(audited=False)
    with AnswerCache.open(folder / "answers.sqlite") as cache:
        gate_candidate(
            editor, champion, None, suites=[suite], cache=cache, options=GateOptions(thresholds)
        )
        began = time.perf_counter()
        gate_candidate(
            editor,
            candidate,
            champion,
            suites=[suite],
            cache=cache,
            options=GateOptions(thresholds),
        )
        return time.perf_counter() - began


def _register_seconds(
    path: Path, bare: Backbone, before: Version, version: Version, folder: Path
) -> float:
    """Seconds to save the grown version and to register it in a store that has its parent."""
    from config import load
    from execution.context import open_ledger
    from registry.store import Registry
    from tasks.register import register

    home = folder / "home"
    home.mkdir()
    (home / "melo.toml").write_text(
        f'[backbone]\npath = {json.dumps(str(path.absolute()))}\ntask = "{bare.task}"\n'
    )
    settings = load(home)
    settings.paths.versions.mkdir(parents=True, exist_ok=True)
    (folder / "shards").rename(settings.paths.shards)
    (folder / "version").rename(settings.paths.version(before.id))
    assert Registry(settings).client.search_experiments() is not None  # makes the empty store
    with open_ledger(settings) as ledger:
        ledger.versions.record(before.id, parent=None, job_id=None)
        ledger.versions.record(version.id, parent=before.id, job_id=None)
        for each in (before, version):
            ledger.versions.record_verdict(each.id, passed=True, reason="random blocks, not judged")
        register(Context(settings, ledger), before.id)
        began = time.perf_counter()
        version.save(settings.paths.version(version.id), settings.paths.shards)
        register(Context(settings, ledger), version.id)
        return time.perf_counter() - began


def child(what: str, path: Path, size: int, folder: str) -> str:
    """Run one step, "build" or "measure", in a fresh process; its last line. Raises BenchError."""
    command = [sys.executable, "-m", "benchmarks.scale", what, str(path), str(size), folder]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    if finished.returncode:
        message = (finished.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise BenchError(f"to {what} {size:,} edits failed: {message}")
    return (finished.stdout.strip().splitlines() or [""])[-1]


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    _, step_, backbone_, size_, folder_ = sys.argv
    if step_ == "build":
        build(Path(backbone_), int(size_), Path(folder_))
    else:
        print(json.dumps(measure(Path(backbone_), int(size_), Path(folder_))))
