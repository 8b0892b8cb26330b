"""What the final state of a method is scored by: texts against targets and against the backbone's own.

    success, generality          text == target                     portability, where rows have it
    locality, near-misses        text == what the bare backbone says
    product                      of the five above without portability

Every text is decoded greedily and freely. A target is compared as the backbone's vocabulary can
write it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.baselines import Asked, Method
from benchmarks.protocol import Probes, Row

FIVE = ("edit_success", "generality", "locality", "near_miss_subject", "near_miss_relation")
UNCHANGED = {
    "locality": "locality",
    "near_miss_subject": "near_subject",
    "near_miss_relation": "near_relation",
}


class BareAnswers:
    """What the bare backbone says, each prompt asked once for all methods."""

    def __init__(self, bare: Method) -> None:
        self._bare = bare
        self._known: dict[str, str] = {}

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        missing = [p for p in dict.fromkeys(prompts) if p not in self._known]
        self._known |= dict(zip(missing, self._bare.answer(Asked.of(missing)), strict=True))
        return [self._known[p] for p in prompts]


def score(
    method: Method,
    rows: Sequence[Row],
    probes: Probes,
    bare: BareAnswers,
    canonical: Callable[[str], str],
) -> dict[str, Any]:
    """Figures of one method in its present state. rows: the edits that are to hold."""
    targets = {r.request.id: canonical(r.request.target) for r in rows}

    def right(pairs: Sequence[tuple[str, str]], wanted: Sequence[str]) -> float:
        asked = Asked.of([p for p, _ in pairs], [i for _, i in pairs])
        return mean(t == w for t, w in zip(method.answer(asked), wanted, strict=True))

    own = [(r.request.question, r.request.id) for r in rows]
    figures: dict[str, Any] = {
        "edit_success": right(own, [targets[i] for _, i in own]),
        "generality": right(probes.rephrase, [targets[i] for _, i in probes.rephrase]),
        "generality_probes": len(probes.rephrase),
    }
    for name, part in UNCHANGED.items():
        prompts = [p for p, _ in getattr(probes, part)]
        before = bare(prompts)
        after = method.answer(Asked.of(prompts))
        kept = [a == b for a, b in zip(after, before, strict=True)]
        figures[name] = mean(kept)
        figures[f"{name}_probes"] = len(prompts)
        if name == "locality":
            others = [p not in probes.reworded_locality for p in prompts]
            figures["locality_of_others"] = mean(k for k, o in zip(kept, others, strict=True) if o)
            figures["locality_reworded"] = others.count(False)
    figures["locality_left_out"] = probes.edited_locality
    if probes.portability:
        pairs = [(p, i) for p, _, i in probes.portability]
        figures["portability"] = right(pairs, [canonical(a) for _, a, _ in probes.portability])
        figures["portability_probes"] = len(pairs)
    figures["product"] = product(figures)
    return figures


def product(figures: dict[str, Any]) -> float:
    """Of those of the five that could be measured."""
    values = [figures[name] for name in FIVE if not math.isnan(figures[name])]
    return round(math.prod(values), 4) if values else float("nan")


def mean(flags: Any) -> float:
    """Share of true ones; nan where there is none to count."""
    values = [bool(f) for f in flags]
    return round(float(np.mean(values)), 4) if values else float("nan")
