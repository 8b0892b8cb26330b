"""Rows join a batch that runs and leave it, and each says what it says alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from melo_engine import Backbone, Conversation
from melo_engine.prompt_states import PromptStates
from serving import continuous
from serving.continuous import ContinuousBatch
from serving.jobs import GenerationJob
from serving.loaded import Loaded
from serving.prompts import encoded
from serving.rows import BatchRow
from serving.sampling import Sampling
from tests.melo_engine import models
from tests.serving.chat_models import conversations, generated, save_chat_model
from tests.serving.support import ANSWERS, EDITED, Running

LENGTH = 12
ROOM = 2**26


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return Backbone.open(save_chat_model(tmp_path_factory.mktemp("continuous") / "chat"))


@pytest.fixture(scope="module")
def loaded(backbone: Backbone) -> Loaded:
    return Loaded(backbone, None)


def batch_of(backbone: Backbone, **limits: int) -> ContinuousBatch:
    return ContinuousBatch(backbone, **{"prefix_bytes": ROOM, "running_bytes": ROOM, **limits})


def job(
    loaded: Loaded, messages: list[dict[str, str]], length: int = LENGTH, **rules: Any
) -> GenerationJob:
    [prompt] = encoded(
        loaded.backbone, loaded.backbone.tokenizer, [Conversation.of(messages)], 1000
    )
    row = BatchRow(prompt.prompt, prompt.ids, length, Sampling(**rules), seed=len(prompt.ids))
    return GenerationJob("generate", loaded, [row], lambda error: None)


def run(batch: ContinuousBatch, jobs: list[GenerationJob], at_once: int) -> int:
    """Let some jobs join before every step until all have ended; the most rows there were at once."""
    most = 0
    with torch.inference_mode():
        while jobs or len(batch):
            batch.join(jobs[:at_once])
            del jobs[:at_once]
            batch.step()
            most = max(most, len(batch))
    return most


@pytest.mark.parametrize("read_at_once", [8, 512])
def test_an_answer_is_the_models_own_whoever_joins_and_leaves_beside_it(
    backbone: Backbone, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, read_at_once: int
) -> None:
    monkeypatch.setattr(continuous, "READ_AT_ONCE", read_at_once)
    asked = conversations(24, seed=3)
    jobs = [job(loaded, messages, LENGTH - i % 5) for i, messages in enumerate(asked)]
    batch = batch_of(backbone)
    assert batch.usable
    assert run(batch, jobs.copy(), at_once=2) > 2
    for number, (messages, answered) in enumerate(zip(asked, jobs, strict=True)):
        [row] = answered.rows
        text, _, tokens = generated(backbone, messages, LENGTH - number % 5)
        assert (row.text, len(row.tokens)) == (text.rstrip("\ufffd").rstrip(), tokens)


def test_a_row_joins_at_the_next_token_of_the_others(backbone: Backbone, loaded: Loaded) -> None:
    first, second = (job(loaded, messages) for messages in conversations(2, seed=1))
    batch = batch_of(backbone)
    with torch.inference_mode():
        batch.join([first])
        for _ in range(4):
            batch.step()
        batch.join([second])
        batch.step()
    assert [len(j.rows[0].tokens) for j in (first, second)] == [5, 1]


def test_one_key_pass_reads_what_all_who_wait_ask(
    chat_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = chat_server.service.versions
    champion = versions.serving()["champion"]
    read: list[int] = []
    real = champion.editor.routes

    def counted(prompts: Any) -> Any:
        read.append(len(prompts))
        return real(prompts)

    monkeypatch.setattr(champion.editor, "routes", counted)
    asked = [*([{"role": "user", "content": prompt}] for prompt in EDITED), *conversations(6)]
    jobs = [job(champion, messages) for messages in asked]
    run(batch_of(versions.backbone), jobs.copy(), at_once=len(jobs))
    assert read == [len(jobs)]
    assert [j.rows[0].text for j in jobs[:2]] == [ANSWERS[prompt] for prompt in EDITED]
    assert not any(j.rows[0].route.edit for j in jobs[2:] if j.rows[0].route)


def test_drawn_answers_and_penalties_depend_on_no_neighbour(
    backbone: Backbone, loaded: Loaded
) -> None:
    rules: list[dict[str, Any]] = [
        {"temperature": 1.0},
        {},
        {"repetition_penalty": 1.4},
        {"temperature": 0.7, "top_k": 5},
        {"alternatives": 2},
    ]
    asked = conversations(10, seed=8)
    together = [job(loaded, m, **rules[i % 5]) for i, m in enumerate(asked)]
    run(batch_of(backbone), together.copy(), at_once=3)
    for number, messages in enumerate(asked):
        alone = job(loaded, messages, **rules[number % 5])
        run(batch_of(backbone), [alone], at_once=1)
        mine, other = alone.rows[0], together[number].rows[0]
        assert mine.tokens == other.tokens
        assert [t.token for t in mine.logprobs] == [t.token for t in other.logprobs]


def test_what_prompts_begin_with_is_read_once(
    backbone: Backbone, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = PromptStates._run

    def counted(self: PromptStates, rows: Any, begun: Any, **more: Any) -> Any:
        read.extend(map(len, rows))
        return real(self, rows, begun, **more)

    monkeypatch.setattr(PromptStates, "_run", counted)
    batch = batch_of(backbone)
    assert batch.usable
    system = {"role": "system", "content": "be brief and kind " * 10}
    for number in range(3):
        read.clear()
        asked = job(loaded, [system, {"role": "user", "content": f"who is {number} ?"}])
        run(batch, [asked], at_once=1)
        whole = len(asked.rows[0].ids) - 1
        assert sum(read) == whole if number == 0 else 0 < sum(read) < whole / 3


def test_a_row_that_does_not_fit_in_waits_until_others_have_left(
    backbone: Backbone, loaded: Loaded
) -> None:
    jobs = [job(loaded, messages) for messages in conversations(6, seed=2)]
    batch = batch_of(backbone, running_bytes=1)
    with torch.inference_mode():
        batch.join(jobs)
        while len(batch):
            batch.step()
            assert len(batch._running) <= 1
    assert all(j.rows[0].finish for j in jobs)


def test_rows_that_are_cancelled_are_not_read(backbone: Backbone, loaded: Loaded) -> None:
    jobs = [job(loaded, messages) for messages in conversations(3, seed=4)]
    batch = batch_of(backbone)
    batch.join(jobs)
    for gone in jobs[1:]:
        gone.rows[0].cancelled = True
    run(batch, [], at_once=1)
    assert [j.rows[0].finish for j in jobs[1:]] == ["cancelled"] * 2
    assert not jobs[1].rows[0].tokens
    assert jobs[0].rows[0].tokens


def test_memory_is_given_back_when_the_last_row_has_left(
    backbone: Backbone, loaded: Loaded
) -> None:
    batch = batch_of(backbone)
    run(batch, [job(loaded, messages) for messages in conversations(4, seed=6)], at_once=4)
    assert batch._cache.layers == []


@pytest.mark.parametrize("kind", ["t5", "gemma3", "bert-classifier"])
def test_models_with_other_states_are_not_batched_so(kind: str) -> None:
    batch = batch_of(models.backbone(kind))
    assert not batch.usable
