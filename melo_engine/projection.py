"""From the hidden states of a prompt's tokens to its key: one vector, two parts.

    states (T, H) ─┬─ without the subject's tokens ─ attention ─ pooling ─ linear ─ unit ──► relation
                   └─ mean over the prompt's own tokens ──────────────────── unit ──────────► content

The relation part says what is asked, whatever the subject and the wording: it is learned once for
each backbone by contrast (`melo_engine.contrast`). The content part says what the prompt is about
as a whole, as read. Edits bound to a subject are told apart by the first, the others by the second.
Distances are Euclidean between unit vectors, 0 to 2. Projecting keys by contrast: PENME (2024).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from melo_engine.errors import VersionError

RELATION_SIZE = 128
HEADS = 4
MIXED_SIZE = 128
SCHEME = 3  # of how keys are made; keys of another scheme are never compared with these


class KeyProjection(torch.nn.Module):
    """The learned part of a key. forward: states (B, T, H), masks (B, T) -> keys (B, K) float32.

    leaves_subject_out: whether the relation part is made without the subject's own tokens. mixes:
    whether the tokens that are left look at one another before they are pooled. Projections that
    were learned before either could be have not.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        hidden_size: int,
        *,
        learned: bool = True,
        leaves_subject_out: bool = True,
        mixes: bool | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.learned = learned
        self.leaves_subject_out = leaves_subject_out
        self.mixes = learned if mixes is None else mixes
        self.score = torch.nn.Linear(hidden_size, 64)
        self.query = torch.nn.Linear(64, HEADS)
        self.value = torch.nn.Linear(hidden_size, RELATION_SIZE)
        if self.mixes:
            self.mixing = torch.nn.Linear(hidden_size, 3 * MIXED_SIZE)  # queries, keys, values
            self.mixed = torch.nn.Linear(MIXED_SIZE, hidden_size)
            torch.nn.init.zeros_(self.mixed.weight)  # at first the tokens are left as they are
            torch.nn.init.zeros_(self.mixed.bias)
        self.register_buffer("mean", torch.zeros(hidden_size))
        self.register_buffer("deviation", torch.ones(hidden_size))
        if not learned:  # nothing that no key depends on may decide a version's name
            for parameter in self.parameters():
                torch.nn.init.zeros_(parameter)

    @property
    def relation_size(self) -> int:
        """Length of the relation part; the content part follows it."""
        return RELATION_SIZE if self.learned else self.hidden_size

    @property
    def size(self) -> int:
        return self.relation_size + self.hidden_size

    def forward(self, states: Tensor, mask: Tensor, kept: Tensor | None = None) -> Tensor:
        """mask: real tokens; kept: those of them that the relation part is made of, all where None."""
        states, mask = states.float(), mask.bool()
        kept = mask if kept is None or not self.leaves_subject_out else kept.bool()
        states = (states - self.mean) / self.deviation  # (B, T, H)
        content = _mean(states, mask)  # (B, H)
        relation = self.relation(states, kept) if self.learned else _mean(states, kept)
        return torch.cat([relation, content], 1)

    def relation(self, states: Tensor, mask: Tensor) -> Tensor:
        """Relation part (B, R) of standardised states."""
        if self.mixes:
            states = states + self._mixed(states, mask)
        score = self.query(torch.tanh(self.score(states)))  # (B, T, heads)
        weight = score.masked_fill(~mask[..., None], -1e4).softmax(1)
        value = self.value(states).unflatten(-1, (HEADS, -1))  # (B, T, heads, R/heads)
        return normalize(torch.einsum("bth,bthk->bhk", weight, value).flatten(1), dim=1)

    def _mixed(self, states: Tensor, mask: Tensor) -> Tensor:
        """What each token (B, T, H) takes from the others that count: one layer of self-attention."""
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, T, M / heads)
            for part in self.mixing(states).chunk(3, -1)
        )
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        taken: Tensor = self.mixed(seen.transpose(1, 2).flatten(2))
        return taken

    def to_bytes(self) -> bytes:
        """The projection as a safetensors file."""
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        marks = {"learned": torch.tensor(self.learned)}
        if self.leaves_subject_out:
            marks["leaves_subject_out"] = torch.tensor(True)
        return bytes(save({**tensors, **marks}))

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyProjection:
        """Inverse of `to_bytes`. Raises VersionError where the data is not a projection."""
        try:
            tensors = load(data)
            learned = bool(tensors.pop("learned"))
            without = bool(tensors.pop("leaves_subject_out", False))
        except (KeyError, SafetensorError) as error:
            raise VersionError(f"the key projection cannot be read: {error}") from None
        hidden = len(tensors["mean"])
        mixes = "mixed.weight" in tensors
        projection = cls(hidden, learned=learned, leaves_subject_out=without, mixes=mixes)
        projection.load_state_dict(tensors)
        return projection.eval().requires_grad_(False)

    def save(self, path: Path) -> None:
        path.write_bytes(self.to_bytes())

    def content_hash(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return normalize(pooled, dim=1)
