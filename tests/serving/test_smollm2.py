"""A real chat model behind the service says what it says by itself."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import openai
import torch

from benchmarks.chats import LENGTH, conversations_of
from benchmarks.same_text import PROMPTS, generated_text
from config import load
from tests.conftest import make_home
from tests.serving.chat_models import generated
from tests.serving.support import running, tuned


def test_smollm2_is_served_as_transformers_runs_it(
    smollm2_path: Path, empty_store: Path, tmp_path: Path
) -> None:
    settings = make_home(tmp_path / "home", smollm2_path)
    shutil.copy(empty_store, settings.paths.mlflow_db)
    paris: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    asked: list[list[Any]] = [
        paris,
        [{"role": "system", "content": "Answer in one word."}, *paris],
        [
            *paris,
            {"role": "assistant", "content": "Paris."},
            {"role": "user", "content": "And now?"},
        ],
    ]
    with (
        running(tuned(load(settings.home), auth="none")) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client,
        torch.inference_mode(),
    ):
        backbone = server.service.versions.backbone
        for messages in asked:
            got = client.chat.completions.create(model="base", messages=messages, max_tokens=40)
            text, prompt_tokens, answer_tokens = generated(backbone, messages, 40)
            assert got.choices[0].message.content == text
            assert got.usage is not None
            assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (
                prompt_tokens,
                answer_tokens,
            )
        free = client.chat.completions.create(model="base", messages=paris)
        assert free.choices[0].finish_reason == "stop"
        assert "Paris" in (free.choices[0].message.content or "")


def test_32_at_once_get_what_smollm2_says_alone(
    smollm2_path: Path, empty_store: Path, tmp_path: Path
) -> None:
    """With a system prompt and without, of one turn and of three; `melo bench serve` asks 200."""
    settings = make_home(tmp_path / "home", smollm2_path)
    shutil.copy(empty_store, settings.paths.mlflow_db)
    asked: list[Any] = conversations_of(PROMPTS, 12, seed=0)

    async def ask(url: str) -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="base", messages=messages, max_tokens=LENGTH
                    )
                    for messages in (asked * 3)[:32]
                )
            )
        return [answer.choices[0].message.content for answer in answers]

    with running(tuned(load(settings.home), auth="none")) as server:
        backbone = server.service.versions.backbone
        texts = asyncio.run(ask(f"{server.url}/v1"))
    wanted = [generated_text(backbone, messages) for messages in asked]
    assert len(set(wanted)) > len(wanted) // 2
    assert texts == (wanted * 3)[:32]
