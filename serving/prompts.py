"""What is asked, as the model reads it: rendered and tokenized once, when the request comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from melo_engine import Backbone, Prompt
from melo_engine.errors import PromptError
from serving.errors import RequestRefused


@dataclass(frozen=True)
class EncodedPrompt:
    """prompt: what is asked, by which the edit is found; ids: what the model reads, template and all."""

    prompt: Prompt
    ids: list[int]


def encoded(
    backbone: Backbone, tokenizer: Any, prompts: Sequence[Prompt | list[int]], limit: int
) -> list[EncodedPrompt]:
    """Prompts, or token ids as they are, ready for a batch. Raises RequestRefused (400).

    tokenizer: a copy of the backbone's that nobody else uses. limit: tokens of the longest.
    """
    encodings = [
        _of_tokens(backbone, tokenizer, prompt)
        if isinstance(prompt, list)
        else _of_prompt(backbone, tokenizer, prompt)
        for prompt in prompts
    ]
    longest = max(len(prompt.ids) for prompt in encodings)
    if longest > limit:
        raise RequestRefused(
            400,
            "context_length_exceeded",
            f"prompt has {longest:,} tokens; the model takes {limit:,}. Shorten it.",
            param="prompt",
        )
    return encodings


def as_json(prompt: Prompt) -> str | list[dict[str, str]]:
    """A prompt as reports and records have it: a text, or the messages where there is more than one."""
    if isinstance(prompt, str):
        return prompt
    messages = prompt.as_json()
    return messages[0]["content"] if len(messages) == 1 else messages


def _of_prompt(backbone: Backbone, tokenizer: Any, prompt: Prompt) -> EncodedPrompt:
    try:
        text = backbone.rendered(prompt)
    except PromptError as error:
        raise RequestRefused(400, "template_refused", str(error), param="messages") from None
    ids = list(tokenizer(text, add_special_tokens=not backbone.is_chat)["input_ids"])
    if not ids:
        raise RequestRefused(
            400, "no_question", "the prompt has no token; give a word.", param="prompt"
        )
    return EncodedPrompt(prompt, ids)


def _of_tokens(backbone: Backbone, tokenizer: Any, ids: list[int]) -> EncodedPrompt:
    unknown = [i for i in ids if i >= len(tokenizer)]
    if unknown:
        raise RequestRefused(
            400,
            "unknown_token",
            f"token {unknown[0]} is unknown; the vocabulary has {len(tokenizer):,}.",
            param="prompt",
        )
    text = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
    if not text:
        raise RequestRefused(400, "no_question", "the tokens hold no word.", param="prompt")
    return EncodedPrompt(text, list(ids))
