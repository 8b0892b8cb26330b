"""Two tests that say how sure a count makes us: Wilson's interval and McNemar's exact test."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(passed: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a share, (nan, nan) for n = 0. Wilson (1927), JASA 22."""
    if n <= 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = passed / n
    spread = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / spread
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / spread
    # At the ends the interval closes at 0 and 1; rounding would leave a gap there.
    low = 0.0 if passed == 0 else max(0.0, middle - half)
    return low, 1.0 if passed == n else min(1.0, middle + half)


def mcnemar_worse(lost: int, won: int) -> float:
    """One-sided exact p that the new one is no worse. McNemar (1947), as a sign test.

    lost: probes that the champion passed and the candidate fails; won: the other way about. Small
    where losses outnumber wins by more than chance; 1.0 where nothing was lost.
    """
    n = lost + won
    if lost == 0:
        return 1.0
    if n > 1000:  # the normal approximation with continuity correction, to 4 digits the same
        z = (lost - 0.5 - n / 2) / math.sqrt(n / 4)
        return 1 - NormalDist().cdf(z)
    return float(sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n)
