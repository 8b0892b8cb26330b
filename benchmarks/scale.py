"""What routing and blocks cost as edits grow: throughput against the bare backbone in the same run.

Blocks have random weights, since training is not the question here. Each size runs in a process of
its own, so that peak memory is its own. Every answer has the same number of tokens, bare or edited.
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
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from melo_engine import Backbone, Edit, Editor, EditRequest, Version
from melo_engine.blocks import Shard
from melo_engine.surgery import projection_sizes

BATCH, TOKENS, ROUNDS, RANK, SHARD = 32, 8, 12, 4, 2000
_FIRST = "Ald Bren Cass Dor Eld Farn Gil Hest Ivo Jor Kelm Lund Mar Nev Orr Pell Quin Ros".split()
_LAST = (
    "wick mere holm stead ford burn field wood gate shaw thorpe ley worth combe dale ham".split()
)


def bench(
    path: Path, sizes: Sequence[int], progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Measure each size in a fresh process. path: the backbone's folder."""
    rows = []
    for done, size in enumerate(sizes):
        command = [sys.executable, "-m", "benchmarks.scale", str(path), str(size)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode:
            raise RuntimeError(f"size {size} failed: {finished.stderr.strip().splitlines()[-1]}")
        rows.append(json.loads(finished.stdout.splitlines()[-1]))
        progress("sizes", done + 1, len(sizes))
    flat = {
        name: round(min(r[name] for r in rows) / max(r[name] for r in rows), 3)
        for name in ("unrouted_ratio", "routed_ratio")
    }
    return {
        "batch": BATCH,
        "tokens": TOKENS,
        "threads": torch.get_num_threads(),
        "scale": rows,
        "flat": flat,
    }


def measure(path: Path, size: int) -> dict[str, Any]:
    """One size: a version of random blocks is saved, opened and asked."""
    bare = Backbone.open(path)
    with tempfile.TemporaryDirectory() as folder:
        _random_version(bare, size).save(Path(folder) / "version")
        began = time.perf_counter()
        version = Version.load(Path(folder) / "version", bare)
        len(version.index)
        opened = time.perf_counter() - began
        editor = Editor(bare, version)
        unrouted = [f"Where was {_name(10_000_000 + i)} born?" for i in range(BATCH)]
        step = max(1, size // BATCH)
        routed = [version.edits[k].request.prompt for k in list(version.edits)[::step][:BATCH]]
        routed = (routed * BATCH)[:BATCH]
        assert all(r.edit for r in editor.routes(routed))
        assert not any(r.edit for r in editor.routes(unrouted))
        return {
            "edits": size,
            "unrouted_ratio": _ratio(editor, unrouted),
            "routed_ratio": _ratio(editor, routed),
            "open_seconds": round(opened, 3),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


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


def _random_version(backbone: Backbone, size: int) -> Version:
    """`size` edits, each about an invented subject, with blocks of random weights and real keys."""
    editor = Editor(backbone)
    requests = [
        EditRequest(f"Where was {_name(i)} born?", "x", _name(i), id=f"{i:08d}")
        for i in range(size)
    ]
    keys = editor.reader.read([r.prompt for r in requests])
    torch.manual_seed(0)
    edits, shards = [], []
    for start in range(0, size, SHARD):
        count = min(SHARD, size - start)
        pairs = []
        for target in editor.runtime.targets:
            size_in, size_out = projection_sizes(target)
            pairs.append(
                (
                    torch.randn(count, size_in, RANK) * 1e-2,
                    torch.randn(count, RANK, size_out) * 1e-2,
                )
            )
        shard = Shard.from_tensors(pairs, keys[start : start + count])
        shards.append(shard)
        for row in range(count):
            request = requests[start + row]
            edits.append(
                Edit(request, shard.name, row, shard.block_hash(row), RANK, 0.1, start + row)
            )
    version = replace(editor.version.with_edits(edits, shards))
    editor.runtime.close()
    return version


def _name(i: int) -> str:
    """An invented name for each number, of three words."""
    digits = np.base_repr(i, len(_LAST))
    last = "".join(_LAST[int(d, len(_LAST))] for d in digits)
    return f"{_FIRST[i % len(_FIRST)]}{_LAST[i // 7 % len(_LAST)]} {_FIRST[i // 11 % len(_FIRST)]} {last}"


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
