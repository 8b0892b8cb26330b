"""What is asked, told from letters: for languages that the encoder was not trained on.

    "Was kostet es im Monat?"
        trigrams   " wa", "was", "as ", " ko", "kos", ...    of words in scripts with spaces
        runs       of one to three characters                of scripts without
        vector     the sum of their vectors, a unit vector

Each trigram's vector is found by a hash, as fastText does it (Bojanowski et al. 2017). They are learned
in `contrast.learning`.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from melo_engine.matching.names import SPACELESS

BUCKETS = 2**13  # vectors, each of SIZE values
SIZE = 128
LETTERS = 3
_WORD = re.compile(rf"[{SPACELESS}]+|[^\W{SPACELESS}]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
_SPACELESS_WORD = re.compile(f"[{SPACELESS}]")


def read_letters(vectors: Tensor, texts: Sequence[str]) -> Tensor:
    """Unit vectors (N, SIZE) of texts, by the vectors (BUCKETS, SIZE) of their trigrams.

    What a trigram counts grows with the logarithm of how often it stands in a text. A text without a
    letter or digit has a vector of zeros.
    """
    bags = [_bag(text) for text in texts]
    sizes = torch.tensor([0, *(len(buckets) for buckets, _ in bags)]).cumsum(0)
    sums = embedding_bag(
        torch.tensor([b for buckets, _ in bags for b in buckets], dtype=torch.long).to(
            vectors.device
        ),
        vectors,
        sizes[:-1].to(vectors.device),
        mode="sum",
        per_sample_weights=torch.tensor([w for _, weights in bags for w in weights]).to(vectors),
    )
    return normalize(sums, dim=1)


@lru_cache(maxsize=8192)
def _bag(text: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    counts = Counter(zlib.crc32(part.encode()) % BUCKETS for part in _parts(text))
    return tuple(counts), tuple(1 + math.log(n) for n in counts.values())


def folded(text: str) -> str:
    """Small letters without accents, however they are composed and whatever their width."""
    apart = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", apart.casefold())


def _parts(text: str) -> list[str]:
    parts = []
    for word in _WORD.findall(folded(text)):
        spaceless = _SPACELESS_WORD.match(word)
        letters = word if spaceless else f" {word} "
        for size in range(1 if spaceless else LETTERS, LETTERS + 1):
            parts += [letters[i : i + size] for i in range(len(letters) - size + 1)]
    return parts
