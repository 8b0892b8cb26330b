"""Log-likelihoods of tokens as OpenAI's interfaces write them: one way for chat, one for completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.sampling import TokenLogprob
from serving.texts import bytes_of

LEAST = -9999.0  # JSON has no minus infinity


def of_chat(tokenizer: Any, tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """For chat and responses: a list with an object for each token."""
    return [
        {
            **_spelled(tokenizer, entry.token, entry.logprob),
            "top_logprobs": [_spelled(tokenizer, token, value) for token, value in entry.top],
        }
        for entry in tokens
    ]


def of_completion(
    tokenizer: Any, tokens: Sequence[TokenLogprob], begin: int = 0
) -> dict[str, list[Any]]:
    """For completions: four lists. begin: where in the answer's text the first token stands."""
    texts = [_word(tokenizer, entry.token) for entry in tokens]
    offsets, at = [], begin
    for text in texts:
        offsets.append(at)
        at += len(text)
    return {
        "tokens": texts,
        "token_logprobs": [_finite(entry.logprob) for entry in tokens],
        "top_logprobs": [
            {_word(tokenizer, token): _finite(value) for token, value in entry.top}
            for entry in tokens
        ],
        "text_offset": offsets,
    }


def _spelled(tokenizer: Any, token: int, logprob: float) -> dict[str, Any]:
    raw = bytes_of(tokenizer, token)
    return {
        "token": raw.decode("utf-8", "replace"),
        "logprob": _finite(logprob),
        "bytes": list(raw),
    }


def _word(tokenizer: Any, token: int) -> str:
    return bytes_of(tokenizer, token).decode("utf-8", "replace")


def _finite(value: float) -> float:
    return max(value, LEAST)
