"""By which rules a row's tokens are chosen, and what is told of each: see `serving.sampler`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Rules of one row. top_k: all tokens where 0 or less. stop: texts at which it ends.

    alternatives: how many likely tokens are told beside each one; None: nothing is told of any.
    ignore_eos: it goes on behind the token that ends an answer, which is one of its tokens then.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    alternatives: int | None = None
    ignore_eos: bool = False

    @property
    def touches_logits(self) -> bool:
        """Whether the next token's logits are changed or looked at."""
        changed = self.temperature > 0 or self.repetition_penalty != 1
        return changed or self.alternatives is not None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's log-likelihood, and the likeliest tokens in its place with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, logits: Tensor, token: int, alternatives: int) -> TokenLogprob:
        """logits: (V,) of the model, before anything was done to them."""
        logprobs = logits.float().log_softmax(-1)
        best = logprobs.topk(min(alternatives, len(logprobs)))
        top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return cls(token, float(logprobs[token]), tuple(top))
