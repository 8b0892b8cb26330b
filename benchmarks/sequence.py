"""One sequence of jobs for one method, scored on the state after 1, 10, 100, 1,000 and all edits.

    requests ─ jobs ─► edit, edit, edit, ...          timed
                          │      │
                        mark   mark  ─► score(method, edits so far)     not timed

A mark that falls within the first job is a sequence of its own, from a fresh start: cutting the job
there would change what the later marks see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.baselines import BASELINES, METHODS, Melo, Method, Oracle
from benchmarks.checkpoints import Checkpoints, Figures
from benchmarks.progress import Report, silent
from melo_engine import Backbone, EditRequest, EditSettings

MARKS = (1, 10, 100, 1000)
REVOCATIONS = 200
OWN = ("melo", "oracle")
SLOW = ("paper", "grace")  # seconds an edit

Scorer = Callable[[Method, int], dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """What a run is asked for. baseline_limit: edits that methods other than melo make at most, and
    slow_limit that those of SLOW do; 0: all.

    backbone: a folder or hub id; prepared from the rows where None. practice: rows of another file that
    the key projection may learn from, and that give unseen subjects; none in the product. traffic:
    prompts that no edit is about. no_subject: edits are made without their subjects. revocations: edits
    that are taken back one by one after the last, at most.
    """

    cache: Path
    methods: tuple[str, ...] = METHODS[:1]
    limit: int | None = None
    baseline_limit: int | None = 100
    slow_limit: int | None = None
    backbone: str | None = None
    practice: tuple[dict[str, Any], ...] = ()
    traffic: tuple[str, ...] = ()
    no_subject: bool = False
    revocations: int = REVOCATIONS
    settings: EditSettings | None = None
    marks: tuple[int, ...] = MARKS
    checkpoints: Checkpoints | None = field(default=None, compare=False, repr=False)
    progress: Report = field(default=silent, compare=False, repr=False)

    def most(self, method: str, count: int) -> int:
        """How many of `count` requests a method edits."""
        if method in OWN:
            return count
        limits = [self.baseline_limit, self.slow_limit if method in SLOW else None]
        return min([count, *(limit for limit in limits if limit)])

    def finished(self, seed: int, methods: Sequence[str], make: Callable[[], Figures]) -> Figures:
        """Figures by method, made now or taken from a run that was interrupted after these."""
        if self.checkpoints is None:
            return make()
        return self.checkpoints.figures(seed, methods, make)

    @property
    def own(self) -> tuple[str, ...]:
        """Of the chosen methods this engine and its bound, which are run together."""
        return tuple(m for m in OWN if m in self.methods)


def run_sequence(
    build: Callable[[], Method],
    requests: Sequence[EditRequest],
    score: Scorer,
    options: Options,
) -> tuple[Method, dict[str, Any]]:
    """Edit all requests and score at each mark. Returns the method in its final state, open.

    The figures are those of the final state, with the other marks' under "at" by their number.
    """
    count = len(requests)
    method = build()
    marks = sorted(m for m in options.marks if m < count)
    at: dict[str, dict[str, Any]] = {}
    for mark in (m for m in marks if m < method.job):
        fresh = build()
        fresh.edit(requests[:mark])
        at[str(mark)] = score(fresh, mark)
        fresh.close()
    seconds, done = 0.0, 0
    while done < count:
        stop = min([done + method.job, count, *(m for m in marks if m > done and m >= method.job)])
        began = time.perf_counter()
        method.edit(requests[done:stop])
        seconds += time.perf_counter() - began
        done = stop
        options.progress(f"editing with {method.name}", done, count)
        if done in marks and done < count:
            at[str(done)] = score(method, done)
    figures = score(method, count)
    options.progress(f"scoring {method.name}", 1, 1)
    return method, {
        **figures,
        "requests": count,
        "edits_per_second": round(count / seconds, 3) if method.name != "none" else None,
        "seconds": round(seconds, 2),
        "at": {**at, str(count): figures},
    }


def run_melo(
    build: Callable[[], Melo],
    requests: Sequence[EditRequest],
    score: Scorer,
    options: Options,
) -> tuple[Melo, dict[str, Any]]:
    """Run this engine, and at every mark the oracle on the same blocks if it was chosen.

    Returns the engine in its final state, open, and the figures of both by name.
    """
    oracle: dict[str, dict[str, Any]] = {}

    def both(method: Method, count: int) -> dict[str, Any]:
        assert isinstance(method, Melo)
        scores = score(method, count)
        if "oracle" in options.methods:
            oracle[str(count)] = score(Oracle(method), count)
        active, superseded = len(method.editor.version), len(method.superseded)
        return scores | {"active": active, "superseded": superseded}

    melo, figures = run_sequence(build, requests, both, options)
    assert isinstance(melo, Melo)
    results = {"melo": figures}
    if oracle:
        count = len(requests)
        results["oracle"] = {**oracle[str(count)], "requests": count, "at": oracle}
    return melo, results


def run_baselines(
    backbone: Backbone,
    requests: Sequence[EditRequest],
    score: Scorer,
    seed: int,
    options: Options,
) -> dict[str, Any]:
    """Run every other chosen method on as many of the first requests as it may edit."""

    def run(name: str) -> Figures:
        few = requests[: options.most(name, len(requests))]
        method, figures = run_sequence(
            partial(BASELINES[name], backbone, seed), few, score, options
        )
        method.close()
        return {name: figures}

    results: dict[str, Any] = {}
    for name in options.methods:
        if name in BASELINES:
            results |= options.finished(seed, (name,), partial(run, name))
    return results
