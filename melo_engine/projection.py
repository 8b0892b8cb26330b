"""From the hidden states of a text's tokens to a key: one vector, two parts.

    relation text, states (T, H) ─┬─ attention ─ pooling ─ linear ─ unit ─┬─ unit ─┬─► relation
                                  └─ mean ─ unit ─────────────────────────┘        │
    not in English: its letters   ─── trigrams ─ sum ─ unit ───────────────────────┘
    content text,  states (T, H) ─── mean ─ unit ───────────────────────────────────► content

The relation part says what is asked, whatever the subject and the wording: half of it is learned once
for each encoder by contrast (`melo_engine.contrast`), half is what the encoder itself says, which knows
wordings that no corpus holds. Of a text in another language than the sentence encoder was trained on it
says what the letters say (`subwords`). The content part says
what a text is about as a whole, as read. Edits bound to a subject are told apart by the first, the others
by the second. Distances are Euclidean between unit vectors, 0 to 2; that of a relation part to an edit's
is divided by the asker's `leeway`. Projecting keys by contrast: PENME (2024).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from melo_engine import subwords
from melo_engine.errors import VersionError

RELATION_SIZE = 128
HEADS = 4
MIXED_SIZE = 128
LEEWAY = 0.5  # what a question may lie farther, for its distance to the nearest known relation
CLEARLY = 0.16  # nearer, in cosine, a relation known in another language is than any in English
OPTIONAL = ("known", "known_english", "letters", "known_by_letters")
SCHEME = 8  # of how keys are made; keys of another scheme are never compared with these


class KeyProjection(torch.nn.Module):
    """The learned part of a key. Not learned, the relation part is a mean of states as well."""

    mean: Tensor
    deviation: Tensor
    known: Tensor
    known_english: Tensor
    letters: Tensor
    known_by_letters: Tensor

    def __init__(self, hidden_size: int, *, learned: bool = True, known: int = 0) -> None:
        """known: how many relations of the corpus it knows."""
        super().__init__()
        self.hidden_size = hidden_size
        self.learned = learned
        self.score = torch.nn.Linear(hidden_size, 64)
        self.query = torch.nn.Linear(64, HEADS)
        self.value = torch.nn.Linear(hidden_size, RELATION_SIZE)
        self.mixing = torch.nn.Linear(hidden_size, 3 * MIXED_SIZE)  # queries, keys, values
        self.mixed = torch.nn.Linear(MIXED_SIZE, hidden_size)
        torch.nn.init.zeros_(self.mixed.weight)  # at first the tokens are left as they are
        torch.nn.init.zeros_(self.mixed.bias)
        self.register_buffer("mean", torch.zeros(hidden_size))
        self.register_buffer("deviation", torch.ones(hidden_size))
        # Relation parts (known, R) of the corpus's relations, those learned from first: see `leeway`.
        self.register_buffer("known", torch.zeros(known, self.read_size, dtype=torch.float16))
        # Which of them are English; the vectors (BUCKETS, SIZE) of trigrams for texts that are not, and
        # what the corpus's relations in other languages are by these.
        self.register_buffer("known_english", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("letters", torch.zeros(0, subwords.SIZE, dtype=torch.float16))
        self.register_buffer("known_by_letters", torch.zeros(0, subwords.SIZE, dtype=torch.float16))
        if not learned:  # nothing that no key depends on may decide a version's name
            for parameter in self.parameters():
                torch.nn.init.zeros_(parameter)

    @property
    def read_size(self) -> int:
        """Length of what the encoder says of a relation."""
        return self.hidden_size + (RELATION_SIZE if self.learned else 0)

    @property
    def relation_size(self) -> int:
        """Length of the relation part; the content part follows it."""
        return self.read_size + (subwords.SIZE if len(self.letters) else 0)

    @property
    def size(self) -> int:
        return self.relation_size + self.hidden_size

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, H), mask (B, T) of real tokens -> what the encoder says, float32.

        That is of a relation (B, `read_size`), which `with_letters` makes a relation part of, and of
        content (B, H).
        """
        mask = mask.bool()
        states = (states.float() - self.mean) / self.deviation  # (B, T, H)
        content = _mean(states, mask)  # (B, H)
        if not self.learned:
            return content, content
        both = torch.cat([self.learned_relation(states, mask), content], 1)  # (B, R)
        return both / math.sqrt(2), content

    def with_letters(self, relation: Tensor, texts: Sequence[str]) -> Tensor:
        """Relation parts (B, R): what the encoder says of texts (B, `read_size`), then their letters."""
        if not len(self.letters):
            return relation
        return torch.cat([relation, subwords.read_letters(self._vectors, texts)], 1)

    def as_edits(self, keys: np.ndarray) -> np.ndarray:
        """Keys (N, K) of edits, of those that their questions were read with: each told in one way.

        By letters where a relation known in another language is clearly nearer than any in English; an
        English question about a German or a dish of pasta is told by the encoder.
        """
        if not len(self.letters):
            return keys
        cosines = keys[:, : self.read_size] @ self._known[0].T  # (N, known)
        english = self.known_english.cpu().numpy()
        told = cosines[:, ~english].max(1) > cosines[:, english].max(1) + CLEARLY
        keys = keys.copy()
        keys[told, : self.read_size] = 0
        keys[~told, self.read_size : self.relation_size] = 0
        return keys

    def by_letters(self, keys: np.ndarray) -> np.ndarray:
        """Which of edits' keys (N, K) or relation parts (N, R) are told by letters: (N,) bool."""
        told: np.ndarray = ~(keys[:, : self.read_size] != 0).any(axis=1)
        return told

    def distances(self, own: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Of edits' relation parts (N, R) to those of questions (N or 1, R), by the askers' leeway: (N,).

        A question is compared with an edit in the way that the edit is told.
        """
        split = self.read_size
        gaps: np.ndarray = np.linalg.norm(own[:, :split] - asked[:, :split], axis=1)
        gaps /= self.leeway(asked[:, :split])
        if len(self.letters):
            spelled = np.linalg.norm(own[:, split:] - asked[:, split:], axis=1)
            spelled /= self.leeway_by_letters(asked[:, split:])
            gaps = np.where(self.by_letters(own), spelled, gaps)
        return gaps

    def distance(self, own: np.ndarray, asked: np.ndarray, *, by_relation: bool) -> float:
        """Of an edit's key (K,) to that of a question: by relation, with its leeway, or by content."""
        if not by_relation:
            return float(np.linalg.norm((asked - own)[self.relation_size :]))
        parts = (key[None, : self.relation_size] for key in (own, asked))
        return float(self.distances(*parts)[0])

    def leeway(self, read: np.ndarray, first: int | None = None) -> np.ndarray:
        """What distances from what the encoder says of questions (N, `read_size`) are divided by: (N,).

        A question that is known to ask something is held to it; one that is like nothing known may be
        an odd wording of anything. So leeway grows from 1 with the distance to the nearest known
        relation, as distances are scaled by local density elsewhere (Zelnik-Manor and Perona 2004).
        first: as if no more than so many were known.
        """
        return _leeway(read, self._known[0][:first])

    def leeway_by_letters(self, spelled: np.ndarray, first: int | None = None) -> np.ndarray:
        """As `leeway`, of what letters say of questions (N, SIZE)."""
        return _leeway(spelled, self._known[1][:first])

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        return self.known.float().cpu().numpy(), self.known_by_letters.float().cpu().numpy()

    @cached_property
    def _vectors(self) -> Tensor:
        return self.letters.float()

    def learned_relation(self, states: Tensor, mask: Tensor) -> Tensor:
        """The learned half (B, RELATION_SIZE) of the relation part, of standardised states (B, T, H)."""
        states = states + self._mixed(states, mask)
        score = self.query(torch.tanh(self.score(states)))  # (B, T, heads)
        weight = score.masked_fill(~mask[..., None], -1e4).softmax(1)
        value = self.value(states).unflatten(-1, (HEADS, -1))  # (B, T, heads, R/heads)
        return normalize(torch.einsum("bth,bthk->bhk", weight, value).flatten(1), dim=1)

    def _mixed(self, states: Tensor, mask: Tensor) -> Tensor:
        """What each token (B, T, H) takes from the others: one layer of self-attention."""
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, T, M / heads)
            for part in self.mixing(states).chunk(3, -1)
        )
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        mixed: Tensor = self.mixed(attended.transpose(1, 2).flatten(2))
        return mixed

    def to_bytes(self) -> bytes:
        """The projection as a safetensors file."""
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        for name in OPTIONAL:  # as it was written before there were any: versions keep their names
            if not len(tensors[name]):
                del tensors[name]
        return bytes(save({**tensors, "learned": torch.tensor(self.learned)}))

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyProjection:
        """Inverse of `to_bytes`. Raises VersionError where the data is not a projection."""
        try:
            tensors = load(data)
            learned = bool(tensors.pop("learned"))
            projection = cls(
                len(tensors["mean"]), learned=learned, known=len(tensors.get("known", ()))
            )
            for name in OPTIONAL:
                setattr(projection, name, tensors.get(name, getattr(projection, name)))
                tensors.setdefault(name, getattr(projection, name))
            projection.load_state_dict(tensors)
        except (KeyError, RuntimeError, SafetensorError) as error:
            first = str(error).splitlines()[0]
            raise VersionError(f"the key projection cannot be read: {first}") from None
        return projection.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        path.write_bytes(self.to_bytes())

    def content_hash(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]


def _leeway(read: np.ndarray, known: np.ndarray) -> np.ndarray:
    if not len(known):
        return np.ones(len(read), dtype=np.float32)
    nearest: np.ndarray = np.sqrt(np.maximum(2 - 2 * (read @ known.T).max(1), 0))
    return 1 + LEEWAY * nearest


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return normalize(pooled, dim=1)
