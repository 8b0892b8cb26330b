"""Read keys: a prompt's own tokens through the frozen part of the backbone, once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from melo_engine.backbone import Backbone
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Runtime
from melo_engine.subjects import spans

Names = Sequence[str | None]  # of each prompt the subject that is left out, see `subjects.joined`
SAME_LENGTH = 32  # prompts of one length that are read together


class KeyReader:
    """Keys of prompts on one backbone. A key depends on its prompt alone, within float rounding."""

    def __init__(
        self, backbone: Backbone, runtime: Runtime, projection: KeyProjection | None
    ) -> None:
        self.backbone = backbone
        self.runtime = runtime
        self.projection = projection or KeyProjection(hidden_size(backbone), learned=False)
        self.projection = self.projection.to(backbone.device).eval().requires_grad_(False)
        self._exact: dict[tuple[int, int], bool] = {}  # by shape: are rows as they are alone?
        # Keys of one prompt differ between batches by rounding: below this a route is decided alone.
        self.tolerance = 1e-4 if backbone.dtype == torch.float32 else 3e-2

    @torch.inference_mode()
    def read(
        self, prompts: Sequence[str], names: Names | None = None, batch_size: int = 64
    ) -> np.ndarray:
        """Keys (N, K) float32, computed in batches of similar length.

        names: the subject left out of each prompt's relation part, None for none.
        """
        names = names or [None] * len(prompts)
        keys = np.empty((len(prompts), self.projection.size), dtype=np.float32)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            some = [prompts[i] for i in rows]
            states, mask = self.states(some)
            keys[rows] = self.project(states, mask, some, [names[i] for i in rows])
        return keys

    def read_alone(self, prompt: str, name: str | None = None) -> np.ndarray:
        """Key (K,) of one prompt with nothing beside it and no padding: the one that counts."""
        return self.read_with_states([prompt], [name])[0][0]

    @torch.inference_mode()
    def read_with_states(
        self, prompts: Sequence[str], names: Names | None = None
    ) -> list[tuple[np.ndarray, Tensor]]:
        """For each prompt its key (K,) as `read_alone` gives it, and the states (T, H) behind it.

        Prompts of one length are read together where that gives the same numbers to the bit, as it
        does where a row's sums do not depend on the batch. It is tried out for each shape of batch.
        """
        names = names or [None] * len(prompts)
        by_length: dict[int, list[int]] = defaultdict(list)
        for i, prompt in enumerate(prompts):
            by_length[self.backbone.encode([prompt])["input_ids"].shape[1]].append(i)
        found: dict[int, tuple[np.ndarray, Tensor]] = {}
        for length, rows in by_length.items():
            for start in range(0, len(rows), SAME_LENGTH):
                some = rows[start : start + SAME_LENGTH]
                read = self._together([(prompts[i], names[i]) for i in some], length)
                found |= zip(some, read, strict=True)
        return [found[i] for i in range(len(prompts))]

    def _together(
        self, asked: list[tuple[str, str | None]], length: int
    ) -> list[tuple[np.ndarray, Tensor]]:
        """Keys and states of prompts of one length, as each has them alone."""

        def read(some: list[tuple[str, str | None]]) -> list[tuple[np.ndarray, Tensor]]:
            if len(some) == 1:  # twice: a single short row is summed otherwise than rows in a batch
                return read(some * 2)[:1]
            prompts, names = [p for p, _ in some], [n for _, n in some]
            states, mask = self.states(prompts)
            return list(zip(self.project(states, mask, prompts, names), states, strict=True))

        if len(asked) == 1:
            return read(asked)
        shape = (length, len(asked))
        if self._exact.get(shape, True):
            together = read(asked)
            if shape not in self._exact:
                alone = read(asked[-1:])[0][0]
                self._exact[shape] = bool(np.array_equal(alone, together[-1][0]))
            if self._exact[shape]:
                return together
        return [read([one])[0] for one in asked]

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
        for row, (prompt, name) in enumerate(zip(prompts, names, strict=True)):
            if name is None:
                continue
            left_out = self._tokens_of(prompt, name)
            places = mask[row].nonzero().flatten()
            if left_out and len(left_out) < len(places):
                kept[row, places[left_out]] = False
        return kept

    def _tokens_of(self, prompt: str, name: str) -> list[int]:
        """The prompt's tokens that a name is written with; none where the tokenizer can't tell."""
        places = spans(prompt, name)
        return [
            token
            for token, (begin, end) in enumerate(self.backbone.offsets(prompt))
            if begin < end and any(begin < b and a < end for a, b in places)
        ]

    def states(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, H) at the key module, and the mask (B, T) of real tokens."""
        batch = self.backbone.encode(prompts, padding_side="right")
        return self.runtime.read_hidden(lambda: forward_to_key(self.backbone, batch)), batch[
            "attention_mask"
        ]


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
