"""What a question is about, where nobody said it: a tagger over an encoder's token states.

    "Who leads Norvik Labs?"   ─ states (T, H) and spelling (T, S) ─ each token with its neighbours ─┐
                                 the span with the largest sum of log odds, whole words ◄── log odds (T,)
                                                                             └──► "Norvik Labs"

Learned once for each encoder from the contrast corpus, whose subjects are invented and known. It looks
at no list of words, so it works in the languages that the corpus has, as far as the encoder reads them.
In languages that the sentence encoder was not trained on, letters have a say too (`letter_tagger`).
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

from melo_engine.contrast.corpus import corpus_for
from melo_engine.contrast.labelled import with_subjects
from melo_engine.encoders import SentenceEncoder, TokenEncoder
from melo_engine.errors import VersionError, first_line
from melo_engine.keys import KeyReader
from melo_engine.matching.letter_tagger import LetterTagger, learn_letter_tagger
from melo_engine.matching.names import has_spaceless, is_spaceless, name_in
from melo_engine.matching.spelling import SPELLING, spelling
from melo_engine.types import Progress

Span = tuple[int, int]

HIDDEN = 96
EPOCHS, BATCH, RATE, DROPOUT = 3, 64, 2e-3, 0.2
SCHEME = 2  # of what is learned, and how: a tagger learned by another is learned anew
# Added to each token's log odds: half a name binds an edit to too much, a name with a word more to less.
# A capital says that a word is of a name, small letters where names have capitals that it is not; a
# script without either says nothing. What each gains: `docs/decisions/key-reader.md`.
CAPITAL_LENIENCE, LENIENCE, SMALL_LENIENCE = 3.0, 2.0, -2.0

_POSSESSIVE = re.compile("['’]s$")


class SubjectTagger(nn.Module):
    """Log odds of each token to be part of the subject: of states (B, T, H), spelling (B, T, S) and a
    mask (B, T)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden_size: int, letters: LetterTagger | None = None) -> None:
        super().__init__()
        self.letters = letters
        self.inner = nn.Linear(3 * (hidden_size + SPELLING), HIDDEN)
        self.outer = nn.Linear(HIDDEN, 1)
        self.register_buffer("mean", torch.zeros(hidden_size))
        self.register_buffer("deviation", torch.ones(hidden_size))

    def forward(self, states: Tensor, spelled: Tensor, mask: Tensor) -> Tensor:
        """(B, T), from each token and those beside it."""
        states = (states.float() - self.mean) / self.deviation
        read = torch.cat([states, spelled], -1) * mask[..., None]  # (B, T, H + S)
        left = pad(read, (0, 0, 1, 0))[:, :-1]
        right = pad(read, (0, 0, 0, 1))[:, 1:]
        beside = torch.cat([left, read, right], -1)  # (B, T, 3 (H + S))
        inner = gelu(self.inner(dropout(beside, DROPOUT, self.training)))
        return self.outer(inner)[..., 0]  # type: ignore[no-any-return]

    def subjects(self, reader: KeyReader, texts: Sequence[str]) -> list[str | None]:
        """What each text is about, as it stands there; None where nothing is likely to be it.

        Where what is asked of it is told by letters, these have as much of a say as the encoder, if its
        script sets spaces between words.
        """
        read = self._read(reader.encoder, texts)
        subjects = [best_span(t, *told) for t, told in zip(texts, read, strict=True)]
        if self.letters is None or not texts:
            return subjects
        names = [name_in(t, (s,)) if s else None for t, s in zip(texts, subjects, strict=True)]
        projection = reader.projection
        by_letters = projection.by_letters(projection.as_edits(reader.read(texts, names)))
        for row in by_letters.nonzero()[0].tolist():
            if has_spaceless(texts[row]):
                continue
            places, odds = self.letters.read(texts[row])
            both = [
                own + _mean_within(place, *read[row])
                for place, own in zip(places, odds, strict=True)
            ]
            subjects[row] = best_span(texts[row], places, both)
        return subjects

    @torch.inference_mode()
    def _read(
        self, encoder: TokenEncoder, texts: Sequence[str]
    ) -> list[tuple[list[Span], list[float]]]:
        """Where tokens of each text stand, and the log odds of each: none where that can't be told."""
        told: list[tuple[list[Span], list[float]]] = [([], []) for _ in texts]
        offsets = encoder.offsets(texts)
        for rows, states, mask in encoder.read(texts):
            for row, own, real in zip(rows, states, mask.bool(), strict=True):
                places = offsets[row]
                if len(places) != int(real.sum()):
                    continue
                spelled = spelling(texts[row], places).to(own.device)
                odds = self(own[real][None], spelled[None], torch.ones_like(spelled[None, :, 0]))
                told[row] = places, odds[0].tolist()
        return told

    def to_bytes(self) -> bytes:
        """The tagger as a safetensors file."""
        return bytes(save({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}))

    @classmethod
    def from_bytes(cls, data: bytes) -> SubjectTagger:
        """Inverse of `to_bytes`. Raises VersionError where the data is not a tagger."""
        try:
            tensors = load(data)
            letters = (
                LetterTagger() if any(name.startswith("letters.") for name in tensors) else None
            )
            tagger = cls(len(tensors["mean"]), letters)
            tagger.load_state_dict(tensors)
        except (KeyError, RuntimeError, SafetensorError) as error:
            raise VersionError(f"the subject tagger cannot be read: {first_line(error)}") from None
        return tagger.eval().requires_grad_(False)


def learn_tagger(
    encoder: TokenEncoder, seed: int = 0, progress: Progress | None = None
) -> SubjectTagger:
    """Fit a tagger to the contrast corpus. Deterministic under the seed."""
    examples = list(with_subjects(corpus_for(encoder), random.Random(seed)))
    texts = [text for text, _, _ in examples]
    offsets = encoder.offsets(texts)
    states: list[Tensor] = []
    spelled: list[Tensor] = []
    labels: list[Tensor] = []
    for rows, hidden, mask in encoder.read(texts, batch_size=128):
        for row, own, real in zip(rows, hidden, mask.bool(), strict=True):
            _, begin, end = examples[row]
            inside = [float(a < b and a < end and begin < b) for a, b in offsets[row]]
            if len(inside) == int(real.sum()):
                states.append(own[real].to("cpu", torch.float16))
                spelled.append(spelling(texts[row], offsets[row]))
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
            read = (pad_sequence([part[i] for i in rows], True) for part in (states, spelled))
            odds = tagger(*read, mask)
            loss = binary_cross_entropy_with_logits(odds[mask], wanted[mask])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if progress is not None:
            progress("learning to tell subjects", epoch + 1, EPOCHS)
    if encoder.name == SentenceEncoder.name:
        tagger.letters = learn_letter_tagger(seed, progress)
    return tagger.eval().requires_grad_(False)


def _lenience(text: str, offsets: Sequence[tuple[int, int]]) -> Iterator[float]:
    """What is added to each token's log odds, by how its word is spelled."""
    spelled = spelling(text, offsets).tolist()
    for (begin, end), (capital, _, digits, _, telling, _) in zip(offsets, spelled, strict=True):
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


def _mean_within(place: Span, offsets: Sequence[Span], odds: Sequence[float]) -> float:
    """Mean of what is said of the tokens that reach into a place; 0 where there is none."""
    begin, end = place
    within = [
        own for (a, b), own in zip(offsets, odds, strict=True) if a < min(b, end) and begin < b
    ]
    return sum(within) / len(within) if within else 0.0


def _closes(text: str, sign: str) -> bool:
    """Whether a bracket that is open in a text is closed by the sign behind it."""
    opening = dict(zip(")]）】", "([（【", strict=True)).get(sign)
    return opening is not None and text.count(opening) > text.count(sign)


def _one_word(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not (is_spaceless(left) or is_spaceless(right))
