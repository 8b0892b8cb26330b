"""How the next token of each row is chosen: its rules, in the order in which vLLM applies them.

logits ──► repetition penalty ──► / temperature ──► top_k ──► top_p ──► + Gumbel noise ──► argmax
   └──► log-likelihoods that are told, always the model's own
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from serving.rows import BatchRow


class Sampler(LogitsProcessor):  # type: ignore[misc]
    """Changes each row's logits by its own rules, so that argmax picks its next token.

    with_prompt: whether answers go on from their prompts, in one vocabulary.
    """

    def __init__(self, rows: Sequence[BatchRow], *, with_prompt: bool) -> None:
        self.with_prompt = with_prompt
        self.rows = [(i, row) for i, row in enumerate(rows) if row.sampling.touches_logits]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: (B, V) logits. Returns them with the rows changed that have rules."""
        scores = scores.clone()
        for i, row in self.rows:
            logits, rules = scores[i].float(), row.sampling  # (V,)
            if rules.alternatives is not None:
                row.raw = logits.clone()
            if rules.repetition_penalty != 1:
                earlier = [*row.ids, *row.tokens] if self.with_prompt else row.tokens
                logits = penalized(logits, earlier, rules.repetition_penalty)
            if rules.temperature > 0:
                logits = tempered(logits, rules.temperature)
                if 0 < rules.top_k < len(logits):
                    logits = likeliest(logits, rules.top_k)
                if rules.top_p < 1:
                    logits = nucleus(logits, rules.top_p)
                uniform = torch.rand(len(logits), generator=row.generator()).clamp_(1e-20, 1 - 1e-7)
                logits = logits - torch.log(-torch.log(uniform)).to(logits.device)
            scores[i] = logits
        return scores


def penalized(logits: Tensor, tokens: Sequence[int], penalty: float) -> Tensor:
    """Logits (V,) with those of tokens that stand already made less likely, as in CTRL."""
    ids = torch.tensor(
        sorted({t for t in tokens if t < len(logits)}), dtype=torch.long, device=logits.device
    )
    values = logits[ids]
    return logits.index_put((ids,), torch.where(values > 0, values / penalty, values * penalty))


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Logits (V,) over a temperature above 0, however low: the highest is 0, so that none overflows."""
    return (logits - logits.max()) / max(temperature, torch.finfo(logits.dtype).tiny)


def likeliest(logits: Tensor, count: int) -> Tensor:
    """Logits (V,) with all but the `count` likeliest at -inf."""
    return logits.masked_fill(logits < logits.topk(count).values[-1], float("-inf"))


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits (V,) with all but the likeliest tokens that make up `top_p` at -inf; one stays."""
    ordered, places = logits.sort(descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # likelier ones' share
    left_out = before >= top_p
    left_out[0] = False  # however small top_p is
    return logits.index_fill(0, places[left_out], float("-inf"))
