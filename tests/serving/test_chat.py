"""A conversation is answered as the model itself answers it, but where an edit is about what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import openai
import pytest

from config import Settings
from execution.context import open_ledger
from melo_engine import Backbone
from tests.conftest import report
from tests.pipeline import promoted, take
from tests.serving.chat_models import ROOM, conversations, generated
from tests.serving.support import ANSWERS, EDITED, Running, running, tuned

LENGTH = 12


@pytest.fixture
def client(chat_server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{chat_server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
def backbone(chat_server: Running) -> Backbone:
    return chat_server.service.versions.backbone


def post(server: Running, path: str, **body: Any) -> httpx.Response:
    with server.client() as http:
        return http.post(path, json=body)


def ask(server: Running, messages: list[Any], **more: Any) -> dict[str, Any]:
    """One chat completion, which must succeed."""
    got = post(server, "/v1/chat/completions", messages=messages, **more)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_without_an_edit_the_answer_is_what_generate_gives_on_the_template(
    chat_server: Running, backbone: Backbone
) -> None:
    asked = conversations(60)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda m: ask(chat_server, m, max_tokens=LENGTH), asked))
    for messages, answer in zip(asked, got, strict=True):
        text, prompt_tokens, answer_tokens = generated(backbone, messages, LENGTH)
        [choice] = answer["choices"]
        assert choice["message"]["content"] == text.rstrip("\ufffd").rstrip()
        assert choice["melo"]["edit"] is None
        assert choice["finish_reason"] == ("length" if answer_tokens == LENGTH else "stop")
        used = answer["usage"]
        assert (used["prompt_tokens"], used["completion_tokens"]) == (prompt_tokens, answer_tokens)
        assert used["total_tokens"] == prompt_tokens + answer_tokens


@pytest.mark.parametrize("question", EDITED)
def test_an_edit_is_found_by_what_is_asked_whatever_stands_before_it(
    chat_server: Running, question: str
) -> None:
    before = [
        [],
        [{"role": "system", "content": "answer in one word"}],
        [{"role": "developer", "content": "hm " * 200}],
        [*user("hello"), {"role": "assistant", "content": "hi"}],
    ]
    routes = post(chat_server, "/v1/route", input=[[*b, *user(question)] for b in before]).json()[
        "data"
    ]
    assert len({(r["edit"], r["block"], r["distance"]) for r in routes}) == 1
    assert routes[0]["edit"]
    for messages in before:
        got = ask(chat_server, [*messages, *user(question)], max_tokens=LENGTH)
        assert got["choices"][0]["melo"]["edit"] == routes[0]["edit"]
    assert ask(chat_server, user(question))["choices"][0]["message"]["content"] == ANSWERS[question]
    one = post(chat_server, "/v1/route", messages=[*before[1], *user(question)]).json()["data"]
    assert one == [routes[0]]


def test_the_services_own_answers_can_be_sent_back(client: openai.OpenAI) -> None:
    messages: list[Any] = user("who is it ?")
    first = client.chat.completions.create(model="champion", messages=messages, max_tokens=5)
    messages += [first.choices[0].message, *user("and then ?")]
    second = client.chat.completions.create(model="champion", messages=messages, max_tokens=5)
    dumped: list[Any] = [
        *user("who is it ?"),
        first.choices[0].message.model_dump(),
        *user("and then ?"),
    ]
    again = client.chat.completions.create(model="champion", messages=dumped, max_tokens=5)
    assert again.choices[0].message.content == second.choices[0].message.content
    assert again.usage is not None
    assert second.usage is not None
    assert again.usage.total_tokens == second.usage.total_tokens


@pytest.mark.parametrize(
    "said",
    [
        {"content": ""},
        {"content": None},
        {},
        {"content": []},
        {"content": None, "refusal": "no"},
        {"content": "hi", "refusal": None, "annotations": [], "audio": None, "tool_calls": None},
        {"content": "hi", "tool_calls": [], "function_call": None, "reasoning_content": "hm"},
        {"content": [{"type": "text", "text": "hi"}, {"type": "refusal", "refusal": "no"}]},
        {"content": "hi", "name": "melo", "invented": None},
    ],
)
def test_an_assistants_message_may_say_nothing(chat_server: Running, said: dict[str, Any]) -> None:
    messages = [*user("who ?"), {"role": "assistant", **said}, *user("and then ?")]
    assert ask(chat_server, messages, max_tokens=3)["usage"]["completion_tokens"] == 3


def test_parts_of_text_are_lines_of_one_message(chat_server: Running) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    apart = ask(chat_server, [{"role": "user", "content": parts}], max_tokens=9)
    assert apart["choices"] == ask(chat_server, user("a\nb"), max_tokens=9)["choices"]


def test_a_last_message_of_the_systems_or_the_assistants_is_part_of_the_conversation(
    chat_server: Running, backbone: Backbone
) -> None:
    for role in ("system", "assistant"):
        messages = [*user("who is it ?"), {"role": role, "content": "be brief"}]
        got = ask(chat_server, messages, max_tokens=LENGTH)["choices"][0]["message"]["content"]
        assert got == generated(backbone, messages, LENGTH)[0].rstrip("\ufffd").rstrip()


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages"),
        ([{"role": "system", "content": "x"}], "role user"),
        (user(" "), "role user"),
        ([{"role": "assistant", "content": "x"}, *user("y")], "begin with another role"),
        ([{"role": "tool", "content": "x", "tool_call_id": "1"}, *user("y")], "messages.0.role"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "image_url",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "input_audio",
        ),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], "file"),
        ([{"role": "user", "content": [{"type": "text"}]}], "content"),
        ([{"role": "user", "content": 5}], "content"),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}, *user("y")],
            "tool_calls",
        ),
        ([{"role": "assistant", "content": "", "audio": {"id": "1"}}, *user("y")], "audio"),
        (user("x " * ROOM), "tokens"),
    ],
)
def test_a_conversation_that_can_not_be_asked_is_refused_by_name(
    chat_server: Running, messages: list[Any], says: str
) -> None:
    got = post(chat_server, "/v1/chat/completions", messages=messages)
    assert got.status_code == 400
    problem = got.json()["error"]
    assert set(problem) == {"message", "type", "param", "code"}
    assert says in problem["message"]
    assert got.headers["x-request-id"]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "extra",
    [
        {"response_format": {"type": "text"}},
        {"store": True},
        {"metadata": {"a": "b"}},
        {"service_tier": "auto"},
        {"parallel_tool_calls": False},
        {"modalities": ["text"]},
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": []},
        {"tool_choice": "auto"},
        {"prompt_cache_key": "k"},
        {"safety_identifier": "u"},
        {"repetition_penalty": 1.0},
        {"user": "x"},
        {"functions": [], "function_call": "none"},
        {"logit_bias": {}},
        {"presence_penalty": 0, "frequency_penalty": 0.0},
        {"reasoning_effort": None},
        {"top_k": -1},
        {"min_p": 0},
        {"logprobs": False},
        {"invented": None},
        {"stop": []},
        {"stop": None},
        {"seed": None},
        {"n": 1},
        {"stream": False, "stream_options": None},
    ],
)
def test_a_field_that_changes_no_answer_is_taken(
    chat_server: Running, extra: dict[str, Any]
) -> None:
    plain = ask(chat_server, user("who ?"), max_tokens=4)
    assert ask(chat_server, user("who ?"), max_tokens=4, **extra)["choices"] == plain["choices"]


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"web_search_options": {}}, "web_search"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"reasoning_effort": "high"}, "reason"),
    ],
)
def test_a_field_that_would_change_the_answer_and_is_not_served_is_refused_by_name(
    chat_server: Running, extra: dict[str, Any], named: str
) -> None:
    got = post(chat_server, "/v1/chat/completions", messages=user("who ?"), **extra)
    assert got.status_code == 400
    assert named in got.json()["error"]["message"]


def test_without_a_length_an_answer_has_the_models_own_room(
    chat_server: Running, backbone: Backbone
) -> None:
    got = ask(chat_server, user("1 2 3"))
    text, asked, said = generated(backbone, user("1 2 3"), ROOM)
    assert said > 64, "the tiny model should not end early here"
    assert got["usage"]["completion_tokens"] == min(said, ROOM - asked)
    assert got["choices"][0]["message"]["content"][:200] == text[:200]


def test_a_stream_never_ends_within_a_character(chat_server: Running) -> None:
    broken = 0
    messages = user("日本の首都は？")
    for length in range(1, 30):
        fields = {"max_tokens": length, "temperature": 1, "seed": 4}
        whole, text = ask(chat_server, messages, **fields), ""
        for event in stream(chat_server, messages=messages, **fields):
            text += event["choices"][0]["delta"].get("content") or ""
        assert not text.endswith("\ufffd")
        assert text == whole["choices"][0]["message"]["content"]
        broken += "\ufffd" in text
    assert broken, "the tiny model writes no half characters here"


def stream(server: Running, **body: Any) -> list[dict[str, Any]]:
    """The events of a streamed chat completion."""
    with (
        server.client() as http,
        http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as got,
    ):
        assert got.status_code == 200
        lines = [line[6:] for line in got.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_stream_says_first_who_speaks_then_what_then_why_it_ended(chat_server: Running) -> None:
    events = stream(chat_server, messages=user(EDITED[0]), stream_options={"include_usage": True})
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-2]["choices"][0]["melo"]["edit"]
    assert [e["usage"] for e in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1]["choices"] == []
    whole = ask(chat_server, user(EDITED[0]))["usage"]
    assert events[-1]["usage"]["total_tokens"] == whole["total_tokens"]


def test_headers_name_version_edit_and_request(chat_server: Running) -> None:
    with chat_server.client() as http:
        for path, body in (
            ("/v1/chat/completions", {"messages": user(EDITED[0])}),
            ("/v1/chat/completions", {"messages": user(EDITED[0]), "stream": True}),
            ("/v1/responses", {"input": EDITED[0]}),
        ):
            got = http.post(path, json=body, headers={"x-request-id": "mine-1"})
            champion = chat_server.service.versions.serving()["champion"]
            assert got.headers["melo-version"] == champion.id
            assert got.headers["melo-edit"] in champion.editor.version.edits
            assert got.headers["x-request-id"] == got.headers["request-id"] == "mine-1"
        other = http.post(
            "/v1/chat/completions",
            json={"messages": user("x"), "max_tokens": 1},
            headers={"x-request-id": "two words"},
        )
        assert "melo-edit" not in other.headers
        assert other.headers["x-request-id"].startswith("req-")


def test_an_edit_is_explained_as_far_as_the_service_knows(chat_server: Running) -> None:
    got = ask(chat_server, user(EDITED[0]), melo_explain=True)["choices"][0]["melo"]["explain"]
    assert (got["prompt"], got["target"]) == (EDITED[0], ANSWERS[EDITED[0]])
    assert got["subject"] == "velandor"
    assert {"source", "trust"} <= set(got["unknown"])
    assert got["source"] is None
    none = ask(chat_server, user("x"), melo_explain=True, max_tokens=1)["choices"][0]["melo"]
    assert none["explain"] is None
    assert "explain" not in ask(chat_server, user("x"), max_tokens=1)["choices"][0]["melo"]


def test_an_edit_of_the_pipelines_is_explained_by_its_source_and_its_gate(home: Settings) -> None:
    with open_ledger(home) as ledger:
        take(home, ledger, report(0))
        version = promoted(home, ledger)
    with running(tuned(home, auth="none")) as server:
        got = server.ask(report(0)["prompt"], melo_explain=True)["choices"][0]["melo"]  # type: ignore[arg-type]
        told = got["explain"]
        assert (told["edit"], told["target"]) == (got["edit"], report(0)["target"])
        assert (told["source"], told["trust"]) == ("desk", home.default_source.trust)
        assert (told["version"], told["gate"]) == (version, "passed")
        assert datetime.fromisoformat(told["date"]).utcoffset() == timedelta(0)
        assert not {"source", "trust", "date", "gate"} & set(told["unknown"])


def test_a_page_of_an_allowed_origin_may_ask(chat_server: Running) -> None:
    ask_first = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    with chat_server.client() as http:
        for origin, allowed in (("https://chat.example", True), ("https://other.example", False)):
            got = http.options("/v1/chat/completions", headers={"origin": origin, **ask_first})
            assert (got.status_code == 200) == allowed
            assert (got.headers.get("access-control-allow-origin") == origin) == allowed
        refused = http.post(
            "/v1/chat/completions", json={}, headers={"origin": "https://chat.example"}
        )
        assert refused.headers["access-control-allow-origin"] == "https://chat.example"
        assert "x-request-id" in refused.headers["access-control-expose-headers"]


def test_feedback_on_a_conversation_reports_the_conversation(chat_server: Running) -> None:
    messages = [{"role": "developer", "content": "be brief"}, *user(EDITED[0])]
    answer = ask(chat_server, messages)
    said = {"answer": answer["id"], "target": "eva", "subject": "velandor"}
    assert post(chat_server, "/feedback", **said).status_code == 201
    assert post(chat_server, "/feedback", prompt=messages, target="mia").status_code == 201
    alone = ask(chat_server, user(EDITED[1]))
    assert post(chat_server, "/feedback", answer=alone["id"], target="kim").status_code == 201
    files = chat_server.service.settings.paths.inbox.glob("*.jsonl")
    by_target = {line["target"]: line for line in (json.loads(f.read_text()) for f in files)}
    kept = [{"role": "system", "content": "be brief"}, *user(EDITED[0])]
    assert by_target["eva"]["prompt"] == by_target["mia"]["prompt"] == kept
    assert by_target["eva"]["old_answer"] == ANSWERS[EDITED[0]]
    assert by_target["kim"]["prompt"] == EDITED[1]


def test_a_model_without_a_template_is_asked_the_last_user_message(server: Running) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        *user("what ?"),
        {"role": "assistant", "content": None},
        *user(EDITED[0]),
    ]
    assert ask(server, messages)["choices"][0]["message"]["content"] == ANSWERS[EDITED[0]]
    got = ask(server, [*user(EDITED[0]), {"role": "system", "content": "be brief"}])
    assert got["choices"][0]["message"]["content"] == ANSWERS[EDITED[0]]
