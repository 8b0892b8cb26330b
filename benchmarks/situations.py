"""What befalls a home in a life, drawn by chance: after every step all that must hold is looked at.

    melo bench situations --steps 200 --seed 0

draw ──► step ──► counts add up? active edits answer? others as the backbone? nothing lost? ──► draw
          │
          └─ reports, siblings, re-edits, revocations, rollbacks, odd files, moves, copies, backups,
             kills, odd environments, full disks

What needs no process of its own runs in this one. A full disk needs root, for a file system in memory;
where that can't be had it is left out, and `left_out` counts how often.
"""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mishaps import STEPS
from benchmarks.tiny import make_backbone, make_home, subjects
from benchmarks.world import World, fingerprint
from execution.versions import Versions


def bench(
    steps: int = 200,
    seed: int = 0,
    say: Callable[[str], None] = print,
    kinds: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The record that `melo bench situations` prints. kinds: these in turn, instead of drawn ones."""
    began, dice = time.monotonic(), random.Random(seed)
    names = subjects(4 * (len(kinds) if kinds else steps) + 20)
    done: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    violations: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        settings = make_home(scratch / "home", make_backbone(scratch / "backbone", names))
        world = World(settings, scratch, dice, iter(names[:-4]), names[-4:])
        drawn = dice.choices(list(STEPS), [weight for _, weight in STEPS.values()], k=steps)
        for number, kind in enumerate(["reports", *drawn[1:]] if kinds is None else kinds):
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                try:
                    world.may_end = set()
                    happened = STEPS[kind][0](world)
                    (done if happened else left_out)[kind] += 1
                    _check(world)
                except Exception as error:
                    world.problems.append(f"{type(error).__name__}: {error}")
            world.outputs.append(out.getvalue())
            if any("Traceback" in text for text in world.outputs):
                world.problems.append(f"a traceback was printed: {''.join(world.outputs)[-600:]}")
            world.outputs.clear()
            notes = [f"step {number}, {kind}: {problem}" for problem in world.problems]
            world.problems.clear()
            violations += notes
            say(
                f"{number}: {kind}, {len(world.active)} active" + "".join(f"\n  {n}" for n in notes)
            )
        with world.ledger() as ledger:
            counts = ledger.counts().counts
    return {
        "steps": number + 1,
        "seed": seed,
        "done": dict(sorted(done.items())),
        "left_out": dict(sorted(left_out.items())),
        "counts": counts,
        "violations": violations,
        "seconds": round(time.monotonic() - began, 1),
    }


def _check(world: World) -> None:
    """Everything that must hold whatever was done before."""
    with world.ledger() as ledger:
        counts, audit, champion = ledger.counts(), ledger.audit(), ledger.champions.current()
        active, waiting = ledger.edits.active(), ledger.edits.unserved()
    world.expect(not audit, f"the audit says {audit}")
    world.expect(
        counts.lines == sum(counts.counts.values()) == world.lines,
        f"{world.lines} lines went in, {counts.lines} are on record, in {counts.counts}",
    )
    world.expect(not waiting, f"after a run edits still wait: {waiting}")
    now = {edit.id: edit.prompt for edit in active}
    lost = [p for e, p in world.active.items() if e not in now and p not in world.may_end]
    world.expect(not lost, f"edits ended that nothing ended: {lost}")
    world.active = now
    if world.original is not None:
        world.expect(
            fingerprint(world.original[0]) == world.original[1], "a copy wrote to its original"
        )
    if champion is None:
        world.expect(not active, "edits are active and there is no champion")
        return
    questions = [f"who leads {name} ?" for name in world.untouched]
    with Versions(world.settings).editor(champion.version) as editor:
        world.expect(set(editor.version.edits) == set(now), "the champion holds other edits")
        answers = editor.answer([edit.prompt for edit in active]) if active else []
        wrong = [
            f"{edit.prompt} {answer.text}, not {edit.target}"
            for edit, answer in zip(active, answers, strict=True)
            if answer.text != editor.backbone.canonical(edit.target or "")
        ]
        world.expect(not wrong, f"wrong answers: {wrong}")
        bare = [answer.text for answer in editor.answer(questions, base=True)]
        edited = [answer.text for answer in editor.answer(questions)]
        world.expect(edited == bare, f"{questions} are answered {edited}, by the backbone {bare}")
