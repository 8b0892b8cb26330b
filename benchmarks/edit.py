"""`melo bench edit`: a file of edits, the protocol it asks for, several seeds, one record.

file ─ kind ─► questions │ hallucination │ classification ─► figures a seed ─► mean and interval
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import classification, hallucination, questions
from benchmarks.baselines import chosen_methods
from benchmarks.checkpoints import Checkpoints
from benchmarks.intervals import intervals, mean_of
from benchmarks.kinds import Kind, kind_of, named_kind
from benchmarks.protocol import read_rows
from benchmarks.scoring import FIVE
from benchmarks.sequence import Options

PROTOCOLS = {
    "questions": questions.run,
    "hallucination": hallucination.run,
    "classification": classification.run,
}
MEASURED = (
    *FIVE,
    "system_prompt",
    "after_turns",
    "behind_text",
    "traffic",
    "locality_of_others",
    "product",
    "product_contains",
    "chosen_own",
    "chosen_rephrased",
    "added_prompt_tokens",
    "portability",
    "oracle_generality",
    "edits_per_second",
    *hallucination.MEASURED,
    *classification.MEASURED,
)


def bench(
    data: Path,
    options: Options,
    *,
    first: int = 0,
    seeds: Sequence[int] = (0,),
    protocol: str | None = None,
) -> dict[str, Any]:
    """Run the protocol on a file. Returns the figures, an object for each method under its name.

    first: rows passed over, as those that others are measured on.

    With several seeds each figure is their mean, `intervals` holds [low, high] of each, and `seeds`
    the figures one by one. What a finished method was found to do is kept at once in the cache; the same
    call after an interruption goes on from there, and names these methods under "resumed".
    Raises BenchError for a file or a method that can't be used.
    """
    rows = read_rows(data)[first:]
    kind: Kind = named_kind(protocol) if protocol else kind_of(rows)
    options = replace(options, methods=chosen_methods(options.methods))
    # Which edits are out of the test is known from `melo`, so a run without it is another run.
    melo_options = replace(options, methods=options.own[:1])
    checkpoints = Checkpoints(options.cache, [_digest(data), first, kind, melo_options])
    options = replace(options, checkpoints=checkpoints)
    runs = []
    for number, seed in enumerate(seeds):
        runs.append(PROTOCOLS[kind](rows, seed, options))
        options.progress("seeds", number + 1, len(seeds))
    figures: dict[str, Any] = {"data": data.name, "protocol": kind, **mean_of(runs)}
    for name in options.methods:
        if name in figures and len(runs) > 1:
            figures[name]["intervals"] = intervals([r[name] for r in runs], MEASURED)
    if checkpoints.resumed:
        figures["resumed"] = sorted(checkpoints.resumed)
    checkpoints.clear()
    if "melo" in figures and "paper" in figures:
        fast, slow = (figures[m].get("edits_per_second") for m in ("melo", "paper"))
        figures["speedup"] = round(fast / slow, 2) if fast and slow else None
    if len(runs) > 1:
        figures["seeds"] = [
            {"seed": seed, **{m: _short(run[m]) for m in options.methods if m in run}}
            for seed, run in zip(seeds, runs, strict=True)
        ]
    return figures


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file of JSON lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(str(json.loads(line)["prompt"]) for line in lines if line.strip())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in figures.items() if k in MEASURED}
