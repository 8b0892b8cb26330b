"""Fields of a chat request through OpenAI's own client: what changes nothing, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from melo_engine import Backbone
from tests.serving.chat_models import generated
from tests.serving.support import ANSWERS, EDITED, Running

LENGTH = 10
QUESTION: list[Any] = [{"role": "user", "content": "who is it ?"}]


@pytest.fixture(scope="module")
def chat(chat_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{chat_server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


def say(chat: openai.OpenAI, messages: list[Any] = QUESTION, **fields: Any) -> Any:
    fields = {"max_tokens": LENGTH, **fields}
    return chat.chat.completions.create(model="champion", messages=messages, **fields)


def test_a_developers_message_is_a_systems(chat: openai.OpenAI, chat_server: Running) -> None:
    backbone: Backbone = chat_server.service.versions.backbone
    messages = [{"role": "system", "content": "be brief"}, *QUESTION]
    text, asked, said = generated(backbone, messages, LENGTH)
    for role in ("system", "developer"):
        got = say(chat, [{"role": role, "content": "be brief"}, *QUESTION])
        assert got.choices[0].message.content == text.rstrip("\ufffd").rstrip()
        assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (asked, said)
        assert got.usage.total_tokens == asked + said


def test_content_in_parts_of_text_is_read_and_other_parts_are_refused_by_name(
    chat: openai.OpenAI,
) -> None:
    part = {"type": "text", "text": "who is it ?"}
    assert say(chat, [{"role": "user", "content": [part]}]).choices == say(chat).choices
    for kind in ("image_url", "input_audio", "file"):
        with pytest.raises(openai.BadRequestError, match=kind):
            say(chat, [{"role": "user", "content": [part, {"type": kind, kind: {}}]}])


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "text"}},
        {"user": "somebody"},
        {"metadata": {"a": "b"}},
        {"store": False},
        {"service_tier": "auto"},
        {"logit_bias": {}},
        {"n": 1},
        {"stop": None},
        {"presence_penalty": 0, "frequency_penalty": 0},
        {"tools": [], "tool_choice": "none"},
    ],
)
def test_what_changes_no_answer_is_taken(chat: openai.OpenAI, fields: dict[str, Any]) -> None:
    assert say(chat, **fields).choices == say(chat).choices


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format",
        ),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"stop": list("abcde")}, "stop"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_what_would_change_the_answer_and_is_not_done_is_refused_by_name(
    chat: openai.OpenAI, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=named) as refused:
        say(chat, **fields)
    assert refused.value.request_id
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "after"}, {"best_of": 2}])
def test_what_completions_do_not_do_is_refused_by_name(
    chat: openai.OpenAI, fields: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError, match=next(iter(fields))):
        chat.completions.create(model="champion", prompt="who", **fields)


def test_why_an_answer_ended_is_said_in_every_case(chat: openai.OpenAI) -> None:
    edited = [{"role": "user", "content": EDITED[0]}]
    whole = say(chat, edited, max_tokens=64)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (
        ANSWERS[EDITED[0]],
        "stop",
    )
    # The end token would be the next one: an answer that is as long as was asked for is cut there.
    cut = say(chat, edited, max_tokens=whole.usage.completion_tokens)
    assert cut.choices[0].finish_reason == "length"
    for fields in ({"max_tokens": 64}, {"max_tokens": whole.usage.completion_tokens}):
        *_, last = say(chat, edited, stream=True, **fields)
        wanted = "stop" if fields["max_tokens"] == 64 else "length"
        assert last.choices[0].finish_reason == wanted


def test_where_an_answer_comes_from_is_seen_without_reading_it(chat: openai.OpenAI) -> None:
    edited = [{"role": "user", "content": EDITED[0]}]
    raw = chat.chat.completions.with_raw_response.create(
        model="champion", messages=edited, extra_body={"melo_explain": True}
    )
    choice: Any = raw.parse().choices[0]
    assert raw.headers["melo-version"] == choice.melo["version"] == raw.parse().system_fingerprint
    assert raw.headers["melo-edit"] == choice.melo["edit"]
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    explained = choice.melo["explain"]
    assert explained["target"] == ANSWERS[EDITED[0]]
    assert {"source", "trust", "gate"} <= explained.keys()
    plain = chat.chat.completions.with_raw_response.create(
        model="champion", messages=QUESTION, max_tokens=2
    )
    assert "melo-edit" not in plain.headers
    assert plain.headers["melo-version"] == raw.headers["melo-version"]
    responded = chat.responses.with_raw_response.create(model="champion", input=EDITED[0])
    assert responded.headers["melo-edit"] == choice.melo["edit"]
