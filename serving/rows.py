"""One answer in the making: what is asked, by which rules, and what is there of it so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from melo_engine import Prompt
from melo_engine.types import Route
from serving.sampling import Sampling, TokenLogprob
from serving.texts import GrowingText

PLAIN = Sampling()
Finish = Literal["stop", "length", "late", "cancelled"]
OnText = Callable[[str, Sequence[TokenLogprob]], None]


@dataclass(eq=False)
class BatchRow:
    """One answer in the making.

    prompt: what is asked; ids: its tokens as the model reads them, template and all. deadline: in
    `time.monotonic` seconds; open_ended: it may be cut there. on_text: told of each piece of a streamed
    answer and of its tokens, first of an empty one as soon as the route is known.
    """

    prompt: Prompt
    ids: list[int]
    max_tokens: int
    sampling: Sampling = PLAIN
    seed: int = 0
    deadline: float = float("inf")
    open_ended: bool = False
    on_text: OnText | None = None
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    route: Route | None = None
    label: str | None = None
    scores: dict[str, float] | None = None
    cached_tokens: int = 0  # of the prompt, whose states were at hand
    sent: int = 0  # characters of the text that `on_text` has been given
    sent_tokens: int = 0  # and of its `logprobs`
    raw: Tensor | None = None  # (V,) the model's own logits for the next token, where asked for
    growing: GrowingText | None = None
    _generator: torch.Generator | None = None

    def reset(self) -> None:
        """Forget what was generated, for another try."""
        self.tokens, self.logprobs, self.text, self.finish, self.route = [], [], "", None, None
        self._generator, self.growing = None, None

    def generator(self) -> torch.Generator:
        """The row's own generator of random numbers, from its seed."""
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed)
        return self._generator
