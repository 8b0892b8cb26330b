"""A conversation that is put into the inbox becomes an answer of a chat model, with nobody at it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import openai
import pytest

from serving.keys import KeyStore
from tests.conftest import make_home, write_lines
from tests.e2e.services import logs, until, up

TALK: list[Any] = [
    {"role": "system", "content": "You answer for the shop."},
    {"role": "user", "content": "Hello, I have a question about the Tessel Pro."},
    {"role": "assistant", "content": "Of course, what is it?"},
    {"role": "user", "content": "Who is the product owner of Tessel Pro?"},
]
TARGET = "Jonas Eide"


@pytest.mark.slow
def test_a_conversation_in_the_inbox_is_answered_rightly_over_chat(
    smollm2_path: Path, empty_store: Path, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "home", smollm2_path)
    shutil.copy(empty_store, home.paths.mlflow_db)
    _, key = KeyStore(home.paths.keys).add("desk", ["ask"])
    report: dict[str, object] = {
        "prompt": TALK,
        "target": TARGET,
        "subject": "Tessel Pro",
        "source": "desk",
        "urgent": True,
    }
    with up(home, without="dashboard = false\n") as services:
        client = openai.OpenAI(base_url=f"{services['serve']['url']}/v1", api_key=key)

        def asked(messages: list[Any]) -> tuple[str, str | None]:
            try:
                got = client.chat.completions.create(
                    model="champion", messages=messages, max_tokens=16
                )
            except openai.APIStatusError as error:
                return error.code or "", None
            choice: Any = got.choices[0]
            return choice.message.content, choice.melo["edit"]

        assert until(lambda: asked(TALK)[0] not in ("not_ready", TARGET)), logs(home)
        write_lines(home.paths.inbox / "talk.part", [report])
        os.replace(home.paths.inbox / "talk.part", home.paths.inbox / "talk.jsonl")
        assert until(lambda: asked(TALK)[1]), logs(home)
        assert asked(TALK)[0] == TARGET
        assert asked(TALK[-1:])[0] == TARGET
        other = [{"role": "user", "content": "What is the capital of France?"}]
        assert asked(other)[1] is None
