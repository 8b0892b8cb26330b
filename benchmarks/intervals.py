"""Several seeds into one figure: the mean, and a 95% interval by Student's t.

With three seeds the interval is the mean +- 2.48 standard deviations; shares are cut to 0..1. With one
seed there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# 97.5% quantiles of Student's t for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_NORMAL = 1.96


def mean_of(runs: Sequence[Any]) -> Any:
    """Numbers averaged, dicts entry by entry, everything else as in the first run."""
    first = runs[0]
    if isinstance(first, Mapping):
        return {k: mean_of([r[k] for r in runs if k in r]) for k in first}
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    numbers = [r for r in runs if isinstance(r, int | float)]
    mean = float(np.mean(numbers))
    return int(mean) if all(isinstance(n, int) for n in numbers) and mean == int(mean) else mean


def intervals(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[float]]:
    """[low, high] of each named figure that all runs have. {} for a single run."""
    bounds: dict[str, list[float]] = {}
    if len(runs) < 2:
        return bounds
    for name in names:
        values = [r[name] for r in runs if isinstance(r.get(name), int | float)]
        if len(values) < len(runs) or any(math.isnan(v) for v in values):
            continue
        quantile = _T[len(values) - 2] if len(values) - 2 < len(_T) else _NORMAL
        half = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
        middle = float(np.mean(values))
        low, high = middle - half, middle + half
        if all(0 <= v <= 1 for v in values):
            low, high = max(0.0, low), min(1.0, high)
        bounds[name] = [round(low, 4), round(high, 4)]
    return bounds
