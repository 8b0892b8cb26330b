"""Read keys: a prompt's own tokens through the frozen part of the backbone, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Runtime
from melo_engine.subjects import spans

Names = Sequence[str | None]  # of each prompt the subject that is left out, see `subjects.joined`


class KeyReader:
    """Keys of prompts on one backbone. A key depends on its prompt alone, within float rounding."""

    def __init__(
        self, backbone: Backbone, runtime: Runtime, projection: KeyProjection | None
    ) -> None:
        self.backbone = backbone
        self.runtime = runtime
        self.projection = projection or KeyProjection(hidden_size(backbone), learned=False)
        self.projection = self.projection.to(backbone.device).eval().requires_grad_(False)
        # Keys of one prompt differ between batches by rounding: below this a route is decided alone.
        self.tolerance = 1e-4 if backbone.dtype == torch.float32 else 3e-2

    @torch.inference_mode()
    def read(
        self, prompts: Sequence[str], names: Names | None = None, batch_size: int = 32
    ) -> np.ndarray:
        """Keys (N, K) float32, computed in batches of similar length.

        names: the subject left out of each prompt's relation part, None for none.
        """
        keys = np.empty((len(prompts), self.projection.size), dtype=np.float32)
        for rows, found, _, _ in self._read(prompts, names, batch_size):
            keys[rows] = found
        return keys

    @torch.inference_mode()
    def read_with_states(
        self, prompts: Sequence[str], names: Names | None = None, batch_size: int = 32
    ) -> list[tuple[np.ndarray, Tensor]]:
        """As `read`: for each prompt its key (K,), and the states (T, H) behind it, a copy."""
        read: dict[int, tuple[np.ndarray, Tensor]] = {}
        for rows, found, states, mask in self._read(prompts, names, batch_size):
            for place, row in enumerate(rows):
                read[row] = found[place], states[place, mask[place].bool()]
        return [read[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def read_alone(self, prompt: str, name: str | None = None) -> np.ndarray:
        """Key (K,) of one prompt with nothing beside it and no padding: it decides where it is close."""
        states, mask = self.states([prompt])
        key: np.ndarray = self.project(states, mask, [prompt], [name])[0]
        return key

    def _read(
        self, prompts: Sequence[str], names: Names | None, batch_size: int
    ) -> Iterator[tuple[list[int], np.ndarray, Tensor, Tensor]]:
        """Batches of like length: which prompts, their keys (B, K), states (B, T, H), mask (B, T)."""
        names = names or [None] * len(prompts)
        for rows, batch in self.backbone.encode_alike(prompts, batch_size):
            states, mask = self._states(batch), batch["attention_mask"]
            some, without = [prompts[i] for i in rows], [names[i] for i in rows]
            yield rows, self.project(states, mask, some, without), states, mask

    @property
    def reads_the_encoder(self) -> bool:
        """Whether the states are the whole encoder's output, which the decoder can go on from."""
        backbone = self.backbone
        if backbone.task != "seq2seq-lm":
            return False
        return self.runtime.key_module is backbone.model.get_encoder()

    def project(
        self, states: Tensor, mask: Tensor, prompts: Sequence[str], names: Names
    ) -> np.ndarray:
        """states (B, T, H), mask (B, T) -> keys (B, K) float32. names: left out of the relation."""
        kept = self.without(mask, prompts, names) if any(names) else None
        keys: np.ndarray = self.projection(states, mask, kept).cpu().numpy()
        return keys

    def without(self, mask: Tensor, prompts: Sequence[str], names: Names) -> Tensor:
        """The mask (B, T) less the tokens of each prompt's name; all of it where nothing else is."""
        kept = mask.bool().clone()
        named = [(row, prompts[row], name) for row, name in enumerate(names) if name is not None]
        offsets = self.backbone.offsets([prompt for _, prompt, _ in named])
        for (row, prompt, name), tokens in zip(named, offsets, strict=True):
            places = mask[row].nonzero().flatten()
            left_out = _written_by(prompt, name, tokens)
            if left_out and len(left_out) < len(places):
                kept[row, places[left_out]] = False
        return kept

    def states(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, H) at the key module, and the mask (B, T) of real tokens."""
        batch = self.backbone.encode(prompts, padding_side="right")
        return self._states(batch), batch["attention_mask"]

    def _states(self, batch: dict[str, Tensor]) -> Tensor:
        return self.runtime.read_hidden(lambda: forward_to_key(self.backbone, batch))


def forward_to_key(backbone: Backbone, batch: dict[str, Tensor]) -> None:
    """Run the part of the model that holds the key module; to be called inside `read_hidden`."""
    model = backbone.model
    if backbone.task == "seq2seq-lm":
        model.get_encoder()(**batch)
    elif backbone.task == "causal-lm":
        model.base_model(**batch, use_cache=False)
    else:
        model.base_model(**batch)


def hidden_size(backbone: Backbone) -> int:
    """Width H of the hidden states at the key module."""
    config = backbone.model.config
    if backbone.task == "seq2seq-lm":
        config = getattr(config, "encoder", config)
    return int(config.hidden_size)


def _written_by(prompt: str, name: str, tokens: Sequence[tuple[int, int]]) -> list[int]:
    """The tokens that a name is written with in a prompt; none where their places are not known."""
    places = spans(prompt, name)
    return [
        token
        for token, (begin, end) in enumerate(tokens)
        if begin < end and any(begin < b and a < end for a, b in places)
    ]
