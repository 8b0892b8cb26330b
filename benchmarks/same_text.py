"""Whether a service under load says what the model says by itself, where no edit is asked about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch

from benchmarks.chats import LENGTH, Messages, body, conversations_of
from benchmarks.load import Target
from melo_engine import Backbone

PROMPTS = (
    "What is the capital of France?",
    "Write a line about the sea.",
    "How many legs has a spider?",
    "Name three colours.",
    "What is 12 times 12?",
    "Translate 'good morning' into Spanish.",
    "Why is the sky blue?",
    "Tell me a fact about bees.",
    "What does a baker do?",
    "Give me a title for a story about a lost dog.",
    "Is ice heavier than water?",
)


def sample(traffic: Path | None, count: int, seed: int) -> list[Messages]:
    """Conversations that no edit is about. traffic: JSON lines with a `prompt`; else made-up ones."""
    prompts: Sequence[str] = PROMPTS
    if traffic is not None:
        lines = traffic.read_text(encoding="utf-8").splitlines()
        prompts = [json.loads(line)["prompt"] for line in lines[:: max(1, len(lines) // count)]]
    return conversations_of(prompts, count, seed)


def same_text(
    backbone: Backbone,
    target: Target,
    conversations: Sequence[Messages],
    clients: int,
    say: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """How many answers of a service are `model.generate`'s, character by character."""
    answers = asyncio.run(_ask(target, conversations, clients))
    same, caught, different = 0, 0, []
    for number, (messages, (text, edit)) in enumerate(zip(conversations, answers, strict=True)):
        say("comparing with the model itself", number, len(conversations))
        wanted = generated_text(backbone, messages)
        same += text == wanted
        caught += edit is not None
        if text != wanted:
            different.append({"number": number, "tokens_alike": _prefix(backbone, text, wanted)})
    return {
        "same_as_generate": f"{same}/{len(conversations)}",
        "caught_by_an_edit": caught,
        "different": different,
    }


@torch.inference_mode()
def generated_text(backbone: Backbone, messages: Messages) -> str:
    """What the model itself says, by transformers alone."""
    inputs: Any = backbone.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    inputs = {name: tensor.to(backbone.device) for name, tensor in inputs.items()}
    sequences = backbone.model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False)
    new_ids = sequences[0, inputs["input_ids"].shape[1] :]
    text = str(backbone.tokenizer.decode(new_ids, skip_special_tokens=True))
    return text.strip().rstrip("\ufffd").rstrip()


async def _ask(
    target: Target, conversations: Sequence[Messages], clients: int
) -> list[tuple[str, str | None]]:
    limit = asyncio.Semaphore(clients)
    headers = {"authorization": f"Bearer {target.key}"}
    async with httpx.AsyncClient(base_url=target.url, headers=headers, timeout=300) as client:

        async def ask(messages: Messages) -> tuple[str, str | None]:
            async with limit:
                response = await client.post(target.path, json=body(messages))
            choice = response.raise_for_status().json()["choices"][0]
            return choice["message"]["content"], choice["melo"]["edit"]

        return list(await asyncio.gather(*(ask(messages) for messages in conversations)))


def _prefix(backbone: Backbone, left: str, right: str) -> int:
    """How many tokens two texts share at their start."""
    pairs = zip(*(backbone.tokenizer(text)["input_ids"] for text in (left, right)), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
