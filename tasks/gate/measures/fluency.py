"""Does a text run in circles, and is it sure of itself? Two measures that need no second model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from melo_engine.matching.names import words

ENTROPY_WEIGHTS = {2: 2 / 3, 3: 4 / 3}  # ROME (Meng et al. 2022), "fluency"
FEWEST_WORDS = 8  # below that a text is too short to loop


def entropy(text: str) -> float:
    """Weighted entropy of 2- and 3-grams of words as a share of what this length allows, 0..1.

    1 where no n-gram comes twice, near 0 for a loop; 1 for a text of less than FEWEST_WORDS. ROME
    takes the mean of the weighted bits; the share makes texts of different lengths comparable.
    """
    tokens = words(text)
    if len(tokens) < FEWEST_WORDS:
        return 1.0
    bits = most = 0.0
    for n, weight in ENTROPY_WEIGHTS.items():
        counts = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
        total = sum(counts.values())
        bits -= weight * sum(c / total * math.log2(c / total) for c in counts.values())
        most += weight * math.log2(total)
    return min(1.0, bits / most)


def inconsistency(answer: str, samples: Sequence[str]) -> float:
    """How little sampled answers bear an answer out: 0 where all say the same, 1 where none does.

    SelfCheckGPT's n-gram variant (Manakul et al. 2023) with unigrams: the mean negative log
    probability of the answer's words under the counts of the samples and the answer itself. It is
    given as a share of the way from "every sample is the answer" to "no sample shares a word with
    it", so that lengths do not matter. nan for an empty answer or no samples.
    """
    tokens = words(answer)
    if not tokens or not samples:
        return math.nan
    greedy = Counter(tokens)
    sampled: Counter[str] = Counter(w for s in samples for w in words(s))
    if not sampled:
        return 1.0
    apart = math.log((greedy.total() + sampled.total()) / greedy.total())
    return max(0.0, (_surprise(tokens, greedy + sampled) - _surprise(tokens, greedy)) / apart)


def _surprise(tokens: Sequence[str], counts: Counter[str]) -> float:
    total = sum(counts.values())
    return -sum(math.log(counts[w] / total) for w in tokens) / len(tokens)
