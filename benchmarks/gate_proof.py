"""Does the gate say the same as one that asks everything, see what is wrong, and pass what is right?

    edits of an edit set, trained as `melo run` does ──► the first half is the champion, all the candidate
    gated with what is known, and with every text anew  ──► compared probe by probe: identical
    one fault planted at a time, gated                  ──► caught: the right edit goes, or the gate fails
    other halves as the champion, nothing planted       ──► clean gates that pass

Faults: a radius ten times as wide, a radius that is no number, another edit's block, a block of random
weights, a block that gives no numbers, two targets swapped, a target that is not the ledger's, a text
in the cache changed by hand, a suite emptied.
"""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import product_editor, ran_on
from benchmarks.gate import without_floors
from benchmarks.progress import Report, silent
from benchmarks.protocol import Row, plain_rows, read_rows
from execution.progress import listening
from melo_engine import Backbone, Editor, Version
from melo_engine.blocks import Shard
from melo_engine.matching.names import joined
from tasks.gate import (
    AnswerCache,
    GateOptions,
    GateResult,
    Suite,
    SuiteInputs,
    gate_candidate,
    load_suites,
    suites_for,
)

WIDER = 10  # times


@dataclass
class GatedEdits:
    """A candidate upon a champion, gated once. rows: of each edit, what was held out of training."""

    editor: Editor
    champion: Version
    candidate: Version
    rows: dict[str, Row]
    scratch: Path
    cache: Path
    places: int = field(default=0)

    def gate(
        self,
        version: Version,
        champion: Version,
        *,
        cache: Path | None = None,
        full: bool = False,
        extra: Sequence[Suite] = (),
        targets: dict[str, str] | None = None,
    ) -> GateResult:
        """Gate a version with its own suites, upon a copy of what is known."""
        folder = self.fresh()
        shutil.copytree(cache or self.cache, folder)
        held_out = {e: list(row.rephrases) for e, row in self.rows.items()}
        suites = suites_for(
            version, SuiteInputs(held_out=held_out, targets=targets or {}), champion=champion
        )
        with AnswerCache.open(folder / "answers.sqlite") as opened:
            return gate_candidate(
                self.editor,
                version,
                champion,
                suites=[*extra, *suites],
                cache=opened,
                options=GateOptions(without_floors(audited=True), full=full),
            )

    def fresh(self) -> Path:
        """A place that nothing is at."""
        self.places += 1
        return self.scratch / f"place-{self.places}"

    @property
    def new(self) -> list[str]:
        """Edits of the candidate that the champion lacks."""
        return [e for e in self.candidate.edits if e not in self.champion]


@dataclass(frozen=True)
class Planted:
    """A fault. edits: that must go or be cut back; none: the gate itself must fail."""

    version: Version
    edits: frozenset[str] = frozenset()
    extra: tuple[Suite, ...] = ()
    targets: dict[str, str] | None = None
    cache: Path | None = None


def bench(
    data: Path,
    edits: int,
    clean: int,
    backbone_path: Path | str,
    cache: Path,
    seed: int = 0,
    progress: Report = silent,
) -> dict[str, Any]:
    """The record that `melo bench gate --prove` prints. clean: how many gates without a fault."""
    backbone = Backbone.open(backbone_path)
    with tempfile.TemporaryDirectory() as scratch:
        world, trained = _world(backbone, data, edits, cache, Path(scratch), progress)
        progress("gating with what is known", 1, 1)
        began = time.perf_counter()
        incremental = world.gate(world.candidate, world.champion)
        half = time.perf_counter()
        progress("gating in full", 1, 1)
        anew = world.gate(world.candidate, world.champion, full=True)
        ended = time.perf_counter()
        failures: dict[str, str] = {}
        seconds: dict[str, float] = {}
        for done, (name, plant) in enumerate(FAULTS.items()):
            progress(f"planting {name}", done, len(FAULTS))
            planted = time.perf_counter()
            failures[name] = _failure_reason(world, plant(world))
            seconds[name] = round(time.perf_counter() - planted, 1)
        clean_failures = []
        chooser = random.Random(seed)
        for done in range(clean):
            progress("clean gates", done, clean)
            clean_failures.append(_clean_gate(world, chooser))
    return {
        "edits": len(incremental.version),
        "trained": trained,
        "probes": len(incremental.probes),
        "identical": _outcome(incremental) == _outcome(anew),
        "incremental_seconds": round(half - began, 1),
        "full_seconds": round(ended - half, 1),
        "caught": sum(not missed for missed in failures.values()),
        "planted": len(failures),
        "fault_seconds": seconds,
        "missed": {name: missed for name, missed in failures.items() if missed},
        "clean_passed": sum(not why for why in clean_failures),
        "clean": len(clean_failures),
        "clean_failures": [why for why in clean_failures if why],
        "data": data.name,
        **ran_on(backbone),
    }


def _world(
    backbone: Backbone, data: Path, edits: int, cache: Path, scratch: Path, progress: Report
) -> tuple[GatedEdits, int]:
    """Edits of subjects that differ, trained as the product does; what a first gate takes out is out."""
    rows: dict[str, Row] = {}
    for row in plain_rows(read_rows(data)):
        if row.request.subject:
            rows.setdefault(joined(row.request.subject), row)
    chosen = {row.request.id: row for row in list(rows.values())[:edits]}
    editor = product_editor(backbone, cache)
    trained = editor.edit([row.request for row in chosen.values()], progress=progress).version
    world = GatedEdits(editor, trained, trained, chosen, scratch, scratch / "known")
    world.cache.mkdir()
    nothing = trained.without(list(trained.edits))
    healthy = world.gate(trained, nothing).version
    half = list(healthy.edits)[len(healthy) // 2 :]
    world.champion, world.candidate = healthy.without(half), healthy
    with AnswerCache.open(world.cache / "answers.sqlite") as opened, listening(progress):
        held_out = {e: list(row.rephrases) for e, row in chosen.items()}
        gate_candidate(
            editor,
            world.champion,
            None,
            cache=opened,
            suites=suites_for(world.champion, SuiteInputs(held_out=held_out)),
            options=GateOptions(without_floors(audited=True)),
        )
    return world, len(trained)


def _outcome(result: GateResult) -> tuple[object, ...]:
    """Everything that two gates of one version must agree on."""
    probes = [(p.suite, p.probe_id, p.passed, p.edit) for p in result.probes]
    return result.passed, result.version.id, probes, [r.edit for r in result.rejected]


def _failure_reason(world: GatedEdits, planted: Planted) -> str:
    """Empty where the fault is caught, and nothing but it; else what the gate said instead."""
    result = world.gate(
        planted.version,
        world.champion,
        cache=planted.cache,
        extra=planted.extra,
        targets=planted.targets,
    )
    if not planted.edits:
        return f"passed: {result.reason}" if result.passed else ""
    touched = {r.edit for r in result.rejected} | {r.edit for r in result.repairs}
    if touched != planted.edits:
        return f"touched {sorted(touched)} instead of {sorted(planted.edits)}"
    return "" if result.passed else f"the others do not pass: {result.reason}"


def _clean_gate(world: GatedEdits, chooser: random.Random) -> str:
    """Another half is the champion. Empty where the gate passes as it should, else its reason."""
    every = list(world.candidate.edits)
    champion = world.candidate.without(chooser.sample(every, len(every) // 2))
    result = world.gate(world.candidate, champion)
    if result.passed and not result.rejected and not result.repairs:
        return ""
    return f"{result.reason}; {[r.reason for r in result.rejected]}"


def _wide(world: GatedEdits) -> Planted:
    """Widen the largest radius: ten times a radius of nearly nothing would catch nothing."""
    radii = {e: world.candidate[e].radius for e in world.new}
    edit = max(radii, key=radii.__getitem__)
    return Planted(world.candidate.with_radius(edit, WIDER * radii[edit]), frozenset({edit}))


def _nan_radius(world: GatedEdits) -> Planted:
    edit = world.new[0]
    return Planted(world.candidate.with_radius(edit, math.nan), frozenset({edit}))


def _wrong_block(world: GatedEdits) -> Planted:
    faulty, donor = _distinct_pair(world)
    edit = replace(
        world.candidate[faulty], shard=world.candidate[donor].shard, row=world.candidate[donor].row
    )
    return Planted(world.candidate.with_edits([edit], []), frozenset({faulty}))


def _random_block(world: GatedEdits) -> Planted:
    generator = torch.Generator().manual_seed(1)
    return _with_block(
        world, lambda b: torch.randn(b.shape, generator=generator, dtype=torch.float32).to(b.dtype)
    )


def _nan_block(world: GatedEdits) -> Planted:
    return _with_block(world, lambda b: torch.full_like(b, math.nan))


def _with_block(world: GatedEdits, change: Callable[[torch.Tensor], torch.Tensor]) -> Planted:
    """An edit whose block has other weights, and is consistent in itself."""
    edit = world.new[1]
    shard, row = world.candidate.place(edit)
    pairs = [(a[row : row + 1], change(b[row : row + 1])) for a, b in shard.pairs]
    shard = Shard.from_tensors(pairs, shard.keys[row : row + 1])
    changed = replace(world.candidate[edit], shard=shard.name, row=0, block=shard.block_hash(0))
    return Planted(world.candidate.with_edits([changed], [shard]), frozenset({edit}))


def _swapped_targets(world: GatedEdits) -> Planted:
    left, right = _distinct_pair(world)
    requests = {e: world.candidate[e].request for e in (left, right)}
    edits = [
        replace(world.candidate[a], request=replace(requests[a], target=requests[b].target))
        for a, b in ((left, right), (right, left))
    ]
    return Planted(world.candidate.with_edits(edits, []), frozenset({left, right}))


def _ledger_mismatch(world: GatedEdits) -> Planted:
    edit, other = _distinct_pair(world)
    targets = {edit: world.candidate[other].request.target}
    return Planted(world.candidate, frozenset({edit}), targets=targets)


def _changed_text(world: GatedEdits) -> Planted:
    """What one block of the champion said, in the cache."""
    folder = world.fresh()
    shutil.copytree(world.cache, folder)
    block = world.champion[next(iter(world.champion.edits))].block
    with sqlite3.connect(folder / "answers.sqlite") as con:
        con.execute("UPDATE texts SET text = 'something else' WHERE block = ?", [block])
    con.close()
    return Planted(world.candidate, cache=folder)


def _emptied_suite(world: GatedEdits) -> Planted:
    folder = world.fresh()
    folder.mkdir()
    (folder / "support.yaml").write_text("probes: 1\n", encoding="utf-8")
    (folder / "support.jsonl").write_text("", encoding="utf-8")
    return Planted(world.candidate, extra=tuple(load_suites(folder)))


def _distinct_pair(world: GatedEdits) -> tuple[str, str]:
    """Two new edits with targets that have nothing in common."""
    edit = world.new[0]
    target = world.candidate[edit].request.target.casefold()
    for other in world.new[1:]:
        theirs = world.candidate[other].request.target.casefold()
        if theirs not in target and target not in theirs:
            return edit, other
    raise ValueError("all new edits have one target; take more edits")


FAULTS: dict[str, Callable[[GatedEdits], Planted]] = {
    "a radius ten times as wide": _wide,
    "a radius that is no number": _nan_radius,
    "another edit's block": _wrong_block,
    "a block of random weights": _random_block,
    "a block that gives no numbers": _nan_block,
    "two targets swapped": _swapped_targets,
    "a target that is not the ledger's": _ledger_mismatch,
    "a text changed in the cache": _changed_text,
    "an emptied suite": _emptied_suite,
}
