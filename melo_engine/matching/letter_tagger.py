"""What a question is about, told from its letters: in languages that the encoder was not trained on.

    "Was kostet Norvik Kompakt im Monat?"
       each word       itself and its trigrams, by a hash
       beside it       what is so read of WINDOW words on both sides, and how all of them are spelled
       log odds        of each word, to be part of the subject

Learned in seconds from those of the corpus's languages that set spaces between words: words that ask
something stand in many wordings there, and names in few. No list of words: trigrams say of a word that
was never seen what they say of those that were (Bojanowski et al. 2017, as `subwords` has it). Where
no spaces are set, a character says too little of whether it is part of a name
(`docs/decisions/key-reader.md`).
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout, gelu, pad

from melo_engine.contrast.corpus import other_languages
from melo_engine.contrast.labelled import with_subjects
from melo_engine.matching.names import has_spaceless
from melo_engine.matching.spelling import SPELLING, spelling
from melo_engine.subwords import LETTERS, folded
from melo_engine.types import Progress

BUCKETS = 2**14  # vectors of words and trigrams, each of SIZE values
SIZE = 32
WINDOW = 4
HIDDEN = 96
EPOCHS, BATCH, RATE, DROPOUT = 4, 64, 4e-3, 0.2
UNSEEN = 0.5  # share of words that are read as if they had never been seen
_WORD = re.compile(r"[^\W_]+(?:[.-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text: places in it, buckets of each, spelling (W, S)."""

    places: tuple[tuple[int, int], ...]
    buckets: tuple[tuple[int, ...], ...]
    spelling: Tensor

    @classmethod
    def of(cls, text: str) -> Words:
        places = tuple(match.span() for match in _WORD.finditer(text))
        return cls(places, tuple(_buckets(text[a:b]) for a, b in places), spelling(text, places))


class LetterTagger(nn.Module):
    """Log odds of each word to be part of the subject."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.EmbeddingBag(BUCKETS, SIZE, mode="mean")
        self.inner = nn.Linear((2 * WINDOW + 1) * (SIZE + SPELLING + 1), HIDDEN)
        self.outer = nn.Linear(HIDDEN, 1)

    def forward(self, texts: Sequence[Words]) -> Tensor:
        """(W,) of the words of all texts, one text after the other."""
        buckets = [part for text in texts for part in text.buckets]
        sizes = torch.tensor([0, *map(len, buckets)])
        device = self.vectors.weight.device
        flat = torch.tensor([b for part in buckets for b in part], device=device)
        read = self.vectors(flat, sizes.cumsum(0)[:-1].to(device))  # (W, SIZE)
        if self.training:
            read = read * (torch.rand(len(read), 1, device=device) > UNSEEN)
        spelled = torch.cat([text.spelling for text in texts]).to(device)
        read = torch.cat([read, spelled, torch.ones_like(read[:, :1])], 1)
        parts = torch.split(read, [len(text.places) for text in texts])
        beside = [pad(part, (0, 0, WINDOW, WINDOW)).unfold(0, 2 * WINDOW + 1, 1) for part in parts]
        inner = gelu(self.inner(dropout(torch.cat(beside).flatten(1), DROPOUT, self.training)))
        odds: Tensor = self.outer(inner)[:, 0]
        return odds

    @torch.inference_mode()
    def read(self, text: str) -> tuple[tuple[tuple[int, int], ...], list[float]]:
        """Where the words of a text stand, and the log odds of each."""
        words = Words.of(text)
        return words.places, self([words]).tolist() if words.places else []


def learn_letter_tagger(seed: int = 0, progress: Progress | None = None) -> LetterTagger:
    """Fit a tagger to those of the contrast corpus's other languages that set spaces.

    Deterministic under the seed.
    """
    examples = []
    for text, begin, end in with_subjects(other_languages(), random.Random(seed)):
        words = Words.of(text)
        if words.places and not has_spaceless(text):
            inside = [float(a < end and begin < b) for a, b in words.places]
            examples.append((words, torch.tensor(inside)))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return _fitted(examples, random.Random(seed), progress)


def _fitted(
    examples: list[tuple[Words, Tensor]], chooser: random.Random, progress: Progress | None
) -> LetterTagger:
    tagger = LetterTagger()
    nn.init.normal_(tagger.vectors.weight, std=0.3)
    optimiser = torch.optim.AdamW(tagger.parameters(), RATE, weight_decay=0.02)
    batches = EPOCHS * -(-len(examples) // BATCH)
    done = 0
    for _ in range(EPOCHS):
        chooser.shuffle(examples)
        for start in range(0, len(examples), BATCH):
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 - done / batches)
            batch = examples[start : start + BATCH]
            odds = tagger([words for words, _ in batch])
            loss = binary_cross_entropy_with_logits(odds, torch.cat([label for _, label in batch]))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            done += 1
            if progress is not None:
                progress("learning to tell subjects by letters", done, batches)
    return tagger.eval().requires_grad_(False)


@lru_cache(maxsize=8192)
def _buckets(word: str) -> tuple[int, ...]:
    text = folded(word)
    ends = f" {text} "
    trigrams = (ends[i : i + LETTERS] for i in range(len(ends) - LETTERS + 1))
    return tuple(zlib.crc32(part.encode()) % BUCKETS for part in (f"word {text}", *trigrams))
