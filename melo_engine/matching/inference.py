"""What a question is about, where nobody said it: a tagger over an encoder's token states.

    "Who leads Norvik Labs?"   ─ states (T, H) and spelling (T, S) ─ each token with its neighbours ─┐
                                 the span with the largest sum of log odds, whole words ◄── log odds (T,)
                                                                             └──► "Norvik Labs"

Learned once for each encoder from the contrast corpus, whose subjects are invented and known. It looks
at no list of words, so it works in the languages that the corpus has, as far as the encoder reads them.
How a word is spelled is said beside the states, since many encoders read small letters alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout, gelu, pad
from torch.nn.utils.rnn import pad_sequence

from melo_engine.contrast.corpus import Corpus, corpus_for
from melo_engine.encoders import TokenEncoder
from melo_engine.errors import VersionError, first_line
from melo_engine.matching.names import is_spaceless
from melo_engine.near_misses import SLOT
from melo_engine.types import Progress

HIDDEN = 96
EPOCHS, BATCH, RATE, DROPOUT = 3, 64, 2e-3, 0.2
SUBJECTS = 2  # that each wording is learned with
FITTING = 0.6  # share of subjects that are of the kind that the relation is about
LOWER_CASE = 0.3  # share of texts in small letters, as people type
BEHIND_TEXT = 0.15
SPELLING = 6  # features of a token's spelling
# Added to each token's log odds: half a name binds an edit to too much, a name with a word more to less.
# A capital says that a word is of a name, small letters where names have capitals that it is not; a
# script without either says nothing. What each gains: `docs/decisions/key-reader.md`.
CAPITAL_LENIENCE, LENIENCE, SMALL_LENIENCE = 3.0, 2.0, -2.0

NO_WORD = (0.0, 0.0, 0.0, 0.0)
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_POSSESSIVE = re.compile("['’]s$")
_SENTENCE_END = re.compile("[.!?。？！¿¡:]")


class SubjectTagger(nn.Module):
    """Log odds of each token to be part of the subject: of states (B, T, H), spelling (B, T, S) and a
    mask (B, T)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(3 * (hidden_size + SPELLING), HIDDEN)
        self.outer = nn.Linear(HIDDEN, 1)
        self.register_buffer("mean", torch.zeros(hidden_size))
        self.register_buffer("deviation", torch.ones(hidden_size))

    def forward(self, states: Tensor, spelling: Tensor, mask: Tensor) -> Tensor:
        """(B, T), from each token and those beside it."""
        states = (states.float() - self.mean) / self.deviation
        read = torch.cat([states, spelling], -1) * mask[..., None]  # (B, T, H + S)
        left = pad(read, (0, 0, 1, 0))[:, :-1]
        right = pad(read, (0, 0, 0, 1))[:, 1:]
        beside = torch.cat([left, read, right], -1)  # (B, T, 3 (H + S))
        inner = gelu(self.inner(dropout(beside, DROPOUT, self.training)))
        return self.outer(inner)[..., 0]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def subjects(self, encoder: TokenEncoder, texts: Sequence[str]) -> list[str | None]:
        """What each text is about, as it stands there; None where nothing is likely to be it."""
        subjects: list[str | None] = [None] * len(texts)
        offsets = encoder.offsets(texts)
        for rows, states, mask in encoder.read(texts):
            for row, own, real in zip(rows, states, mask.bool(), strict=True):
                places = offsets[row]
                if len(places) != int(real.sum()):
                    continue
                spelling = _spelling(texts[row], places).to(own.device)
                odds = self(own[real][None], spelling[None], torch.ones_like(spelling[None, :, 0]))
                subjects[row] = best_span(texts[row], places, odds[0].tolist())
        return subjects

    def to_bytes(self) -> bytes:
        """The tagger as a safetensors file."""
        return bytes(save({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}))

    @classmethod
    def from_bytes(cls, data: bytes) -> SubjectTagger:
        """Inverse of `to_bytes`. Raises VersionError where the data is not a tagger."""
        try:
            tensors = load(data)
            tagger = cls(len(tensors["mean"]))
            tagger.load_state_dict(tensors)
        except (KeyError, RuntimeError, SafetensorError) as error:
            raise VersionError(f"the subject tagger cannot be read: {first_line(error)}") from None
        return tagger.eval().requires_grad_(False)


def learn_tagger(
    encoder: TokenEncoder, seed: int = 0, progress: Progress | None = None
) -> SubjectTagger:
    """Fit a tagger to the contrast corpus. Deterministic under the seed."""
    texts, subjects = _labelled(corpus_for(encoder), random.Random(seed))
    offsets = encoder.offsets(texts)
    states: list[Tensor] = []
    spelling: list[Tensor] = []
    labels: list[Tensor] = []
    for rows, hidden, mask in encoder.read(texts, batch_size=128):
        for row, own, real in zip(rows, hidden, mask.bool(), strict=True):
            begin, end = subjects[row]
            inside = [float(a < b and a < end and begin < b) for a, b in offsets[row]]
            if len(inside) == int(real.sum()):
                states.append(own[real].to("cpu", torch.float16))
                spelling.append(_spelling(texts[row], offsets[row]))
                labels.append(torch.tensor(inside))
        if progress is not None:
            progress("reading subjects", len(states), len(texts))
    torch.manual_seed(seed)
    tagger = SubjectTagger(encoder.hidden_size)
    every = torch.cat(states).float()
    tagger.mean.copy_(every.mean(0))
    tagger.deviation.copy_(every.std(0) + 1e-6)
    optimiser = torch.optim.AdamW(tagger.parameters(), RATE, weight_decay=0.05)
    chooser = random.Random(seed)
    for epoch in range(EPOCHS):
        order = list(range(len(states)))
        chooser.shuffle(order)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            wanted = pad_sequence([labels[i] for i in rows], True, -1.0)  # (B, T)
            mask = wanted >= 0
            read = (pad_sequence([part[i] for i in rows], True) for part in (states, spelling))
            odds = tagger(*read, mask)
            loss = binary_cross_entropy_with_logits(odds[mask], wanted[mask])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if progress is not None:
            progress("learning to tell subjects", epoch + 1, EPOCHS)
    return tagger.eval().requires_grad_(False)


def _labelled(source: Corpus, chooser: random.Random) -> tuple[list[str], list[tuple[int, int]]]:
    """Every wording about some subjects, and where each stands."""
    texts, places = [], []
    for relation in source.relations:
        fitting = source.subjects[relation.language, relation.kind]
        others = [
            n
            for (lang, _), names in source.subjects.items()
            if lang == relation.language
            for n in names
        ]
        for wording in relation.wordings * SUBJECTS:
            subject = chooser.choice(fitting if chooser.random() < FITTING else others)
            before = ""
            if chooser.random() < BEHIND_TEXT:
                before = chooser.choice(source.noise[relation.language]) + " "
            begin = len(before) + wording.index(SLOT)
            text = before + wording.replace(SLOT, subject)
            lower = text.lower()
            texts.append(
                lower if chooser.random() < LOWER_CASE and len(lower) == len(text) else text
            )
            places.append((begin, begin + len(subject)))
    return texts, places


def _spelling(text: str, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """How the word is spelled that each token lies in, (T, S): begins with a capital; all capitals; has
    a digit; first of its sentence; in a text that tells names by capitals at all; both of the outer."""
    words: list[tuple[int, int, tuple[float, float, float, float]]] = []
    behind = 0
    for match in _WORD.finditer(text):
        word, gap = match.group(), text[behind : match.start()]
        first = behind == 0 or bool(_SENTENCE_END.search(gap))
        capitals = len(word) > 1 and word.isupper()
        digits = any(c.isdigit() for c in word)
        said = (float(word[0].isupper()), float(capitals), float(digits), float(first))
        words.append((match.start(), match.end(), said))
        behind = match.end()
    telling = float(any(said[0] and not said[3] for _, _, said in words))
    rows = []
    for begin, end in offsets:
        said = next((s for a, b, s in words if a < end and begin < b and begin < end), NO_WORD)
        rows.append((*said, telling, said[0] * telling))
    return torch.tensor(rows).reshape(-1, SPELLING)


def _lenience(text: str, offsets: Sequence[tuple[int, int]]) -> Iterator[float]:
    """What is added to each token's log odds, by how its word is spelled."""
    spelling = _spelling(text, offsets).tolist()
    for (begin, end), (capital, _, digits, _, telling, _) in zip(offsets, spelling, strict=True):
        token = text[begin:end]
        if telling and (capital or digits):
            yield CAPITAL_LENIENCE
        elif telling and token.islower():
            yield SMALL_LENIENCE
        else:
            without_case = token.isalpha() and token.lower() == token.upper()
            yield 0.0 if without_case else LENIENCE


def best_span(text: str, offsets: Sequence[tuple[int, int]], odds: Sequence[float]) -> str | None:
    """The run of tokens with the largest sum of log odds and lenience, whole words of the text."""
    raised = [own + more for own, more in zip(odds, _lenience(text, offsets), strict=True)]
    real = [i for i, (a, b) in enumerate(offsets) if a < b]
    best, at, total, begin = 0.0, (0, 0), 0.0, 0
    for place, i in enumerate(real):  # Kadane
        if total <= 0:
            total, begin = 0.0, place
        total += raised[i]
        if total > best:
            best, at = total, (begin, place + 1)
    if not best:
        return None
    first, last = offsets[real[at[0]]][0], offsets[real[at[1] - 1]][1]
    while first > 0 and _one_word(text[first - 1], text[first]):
        first -= 1
    while last < len(text) and _one_word(text[last - 1], text[last]):
        last += 1
    while last < len(text) and _closes(text[first:last], text[last]):
        last += 1
    subject = text[first:last].strip(" \t\n.,:;?!¿¡。？！、،؟…'’")
    if text[last : last + 1].isspace():  # whose something is asked for: that is no part of the name
        subject = _POSSESSIVE.sub("", subject)
    return subject or None


def _closes(text: str, sign: str) -> bool:
    """Whether a bracket that is open in a text is closed by the sign behind it."""
    opening = dict(zip(")]）】", "([（【", strict=True)).get(sign)
    return opening is not None and text.count(opening) > text.count(sign)


def _one_word(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not (is_spaceless(left) or is_spaceless(right))
