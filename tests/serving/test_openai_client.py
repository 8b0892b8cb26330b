"""The official client works as it is, field by field, and 32 at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch

from melo_engine import Backbone
from tests.serving.chat_models import conversations, generated
from tests.serving.support import ANSWERS, EDITED, UNEDITED, Running

QUESTION: list[Any] = [{"role": "user", "content": "who is it ?"}]
LENGTH = 12


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    """Of the encoder-decoder."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
def chat(chat_server: Running) -> Iterator[openai.OpenAI]:
    """Of the chat model."""
    with openai.OpenAI(base_url=f"{chat_server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture
def backbone(chat_server: Running) -> Backbone:
    return chat_server.service.versions.backbone


def say(chat: openai.OpenAI, **fields: Any) -> Any:
    """One chat completion of the question, short unless it says otherwise."""
    fields = {"messages": QUESTION, "max_tokens": LENGTH, "model": "champion", **fields}
    return chat.chat.completions.create(**fields)


def test_completions(client: openai.OpenAI) -> None:
    got = client.completions.create(model="champion", prompt=[*EDITED, UNEDITED[0]])
    assert [c.text for c in got.choices[:2]] == list(ANSWERS.values())
    assert got.choices[0].melo["edit"]  # type: ignore[attr-defined]
    assert got.choices[2].melo["edit"] is None  # type: ignore[attr-defined]
    assert got.usage is not None
    assert got.usage.total_tokens > 0


def test_chat(client: openai.OpenAI) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": EDITED[0]}]},
    ]
    got = client.chat.completions.create(model="champion", messages=messages)  # type: ignore[arg-type]
    assert got.choices[0].message.content == ANSWERS[EDITED[0]]
    assert got.choices[0].finish_reason == "stop"
    assert got.system_fingerprint == got.choices[0].melo["version"]  # type: ignore[attr-defined]


def test_streams(client: openai.OpenAI) -> None:
    pieces = client.chat.completions.create(
        model="champion", messages=[{"role": "user", "content": EDITED[1]}], stream=True
    )
    text, origin = "", None
    for piece in pieces:
        text += piece.choices[0].delta.content or ""
        origin = getattr(piece.choices[0], "melo", origin)
    assert text == ANSWERS[EDITED[1]]
    assert origin is not None
    assert origin["edit"]
    words = client.completions.create(model="base", prompt=UNEDITED[0], stream=True)
    whole = client.completions.create(model="base", prompt=UNEDITED[0])
    assert "".join(w.choices[0].text for w in words) == whole.choices[0].text


def test_models(client: openai.OpenAI, chat: openai.OpenAI) -> None:
    names = [m.id for m in client.models.list()]
    assert {"base", "champion"} <= set(names)
    found: Any = chat.models.retrieve("champion")
    assert found.melo["version"]
    assert (found.object, found.owned_by, found.max_model_len) == ("model", "melo", 1024)
    assert found.created > 0


def test_refusals_arrive_as_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody"):
        client.completions.create(model="nobody", prompt="who")
    with pytest.raises(openai.BadRequestError, match="temperature") as refused:
        client.completions.create(model="base", prompt="who", temperature=9)
    assert refused.value.request_id
    assert refused.value.param == "temperature"


def test_the_id_of_a_request_comes_back(chat: openai.OpenAI) -> None:
    got = say(chat, max_tokens=1, extra_headers={"x-request-id": "mine"})
    assert got._request_id == "mine"


def test_both_names_of_the_length(chat: openai.OpenAI) -> None:
    for fields in ({"max_tokens": 3}, {"max_tokens": None, "max_completion_tokens": 3}):
        got = say(chat, **fields)
        assert got.usage.completion_tokens == 3
        assert got.choices[0].finish_reason == "length"


def test_a_stop_text_ends_an_answer_and_is_no_part_of_it(chat: openai.OpenAI) -> None:
    whole = say(chat, max_tokens=40).choices[0].message.content
    middle = whole[5:8]
    for stop in (middle, ["never said", middle, "\x00", "~~"]):
        got = say(chat, max_tokens=40, stop=stop).choices[0]
        assert got.message.content == whole[: whole.index(middle)]
        assert got.finish_reason == "stop"
        events = say(chat, max_tokens=40, stop=stop, stream=True)
        assert "".join(e.choices[0].delta.content or "" for e in events) == got.message.content


def test_several_answers_differ_where_they_are_drawn(chat: openai.OpenAI) -> None:
    drawn = say(chat, n=4, temperature=1.5, seed=3)
    assert [c.index for c in drawn.choices] == [0, 1, 2, 3]
    assert len({c.message.content for c in drawn.choices}) > 1
    assert drawn.usage.completion_tokens <= 4 * LENGTH
    again = say(chat, n=4, temperature=1.5, seed=3)
    assert [c.message.content for c in again.choices] == [c.message.content for c in drawn.choices]
    greedy = say(chat, n=2)
    assert len({c.message.content for c in greedy.choices}) == 1


def test_one_likely_token_is_greedy_however_it_is_said(chat: openai.OpenAI) -> None:
    greedy = say(chat).choices[0].message.content
    for fields in ({"top_p": 1e-6}, {"top_p": 1e-300}, {"extra_body": {"top_k": 1}}):
        drawn = say(chat, temperature=2, seed=1, n=3, **fields)
        assert {c.message.content for c in drawn.choices} == {greedy}
    for temperature in (1e-8, 1e-38, 1e-40, 1e-300):
        drawn = say(chat, temperature=temperature, seed=1, n=3)
        assert {c.message.content for c in drawn.choices} == {greedy}
    wide = say(chat, temperature=2, seed=1, n=3, extra_body={"top_k": 0})
    assert {c.message.content for c in wide.choices} != {greedy}


def test_answers_go_on_to_their_full_length_where_the_end_is_ignored(
    client: openai.OpenAI, chat: openai.OpenAI
) -> None:
    full = {"ignore_eos": True}
    edited: list[Any] = [{"role": "user", "content": EDITED[0]}]
    for asked in (client, chat):
        ended = say(asked, messages=edited, max_tokens=40)
        whole = say(asked, messages=edited, max_tokens=40, extra_body=full)
        assert ended.choices[0].finish_reason == "stop"
        assert whole.choices[0].finish_reason == "length"
        assert whole.usage.completion_tokens == 40
        assert whole.choices[0].message.content.startswith(ended.choices[0].message.content)
        assert whole.choices[0].melo == ended.choices[0].melo
    stopped = say(chat, messages=edited, extra_body=full, stop=ANSWERS[EDITED[0]][:3])
    assert stopped.choices[0].finish_reason == "stop"


def test_usage_counts_what_was_read_for_an_earlier_prompt(chat: openai.OpenAI) -> None:
    system: Any = {"role": "system", "content": "count nothing but what was read before " * 20}
    counts = []
    for question in ("who is it ?", "who else is it ?"):
        asked: list[Any] = [system, {"role": "user", "content": question}]
        usage = say(chat, messages=asked, n=2, seed=1).usage
        assert usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
        counts.append(usage.prompt_tokens_details.cached_tokens)
    again = chat.responses.create(
        model="champion",
        instructions=str(system["content"]),
        input="who is it ?",
        max_output_tokens=2,
    )
    assert again.usage is not None
    assert counts[0] < counts[1] <= again.usage.input_tokens_details.cached_tokens


@torch.inference_mode()
def test_the_penalty_for_repetition_is_transformers(
    chat: openai.OpenAI, backbone: Backbone
) -> None:
    inputs = backbone.tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    asked = inputs["input_ids"].shape[1]
    said = backbone.model.generate(
        **inputs, max_new_tokens=30, do_sample=False, repetition_penalty=1.8
    )
    expected = backbone.tokenizer.decode(said[0, asked:], skip_special_tokens=True)
    got = say(chat, max_tokens=30, extra_body={"repetition_penalty": 1.8})
    assert got.choices[0].message.content == expected.strip().rstrip("\ufffd").rstrip()
    assert got.choices[0].message.content != say(chat, max_tokens=30).choices[0].message.content


@torch.inference_mode()
def test_logprobs_are_the_models(chat: openai.OpenAI, backbone: Backbone) -> None:
    told = say(chat, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    inputs = backbone.tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    asked = inputs["input_ids"].shape[1]
    ids = backbone.model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False)
    logits = backbone.model(ids).logits[0, asked - 1 : -1].log_softmax(-1)
    assert len(told) == LENGTH
    for place, token in enumerate(told):
        best = logits[place].topk(3).values.tolist()
        assert token.logprob == pytest.approx(best[0], abs=1e-3)
        assert [t.logprob for t in token.top_logprobs] == pytest.approx(best, abs=1e-3)
        assert token.top_logprobs[0].token == token.token
    raw = b"".join(bytes(token.bytes) for token in told)
    assert raw.decode("utf-8", "replace") == backbone.tokenizer.decode(ids[0, asked:])
    drawn = say(chat, logprobs=True, temperature=1.5, seed=2).choices[0].logprobs.content
    assert all(t.logprob <= 0 and t.top_logprobs == [] for t in drawn)
    events = list(say(chat, logprobs=True, top_logprobs=3, stream=True))
    streamed = [t for e in events if e.choices[0].logprobs for t in e.choices[0].logprobs.content]
    assert [t.token for t in streamed] == [t.token for t in told]
    assert [t.logprob for t in streamed] == pytest.approx([t.logprob for t in told], abs=1e-4)


def test_logprobs_of_completions(client: openai.OpenAI) -> None:
    [choice] = client.completions.create(
        model="champion", prompt=EDITED[0], logprobs=2, max_tokens=3
    ).choices
    told: Any = choice.logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) > 0
    assert all(len(top) == 2 for top in told.top_logprobs)
    assert told.tokens[0] == choice.text.split()[0]
    assert told.text_offset[0] == 0
    assert all(math.exp(value) <= 1 for value in told.token_logprobs)


def test_prompts_as_token_ids(
    client: openai.OpenAI, server: Running, chat: openai.OpenAI, backbone: Backbone
) -> None:
    ids = server.service.versions.backbone.tokenizer(EDITED)["input_ids"]
    texts = [c.text for c in client.completions.create(model="champion", prompt=ids).choices]
    assert texts == list(ANSWERS.values())
    one = client.completions.create(model="champion", prompt=ids[0])
    assert (one.choices[0].text, one.usage and one.usage.prompt_tokens) == (
        ANSWERS[EDITED[0]],
        len(ids[0]),
    )
    rendered = backbone.tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    got = chat.completions.create(model="base", prompt=rendered, max_tokens=LENGTH)
    assert got.choices[0].text == say(chat, model="base").choices[0].message.content


def test_a_stream_ends_with_what_was_used(chat: openai.OpenAI) -> None:
    events = list(say(chat, stream=True, stream_options={"include_usage": True}))
    assert events[-1].choices == []
    assert events[-1].usage.total_tokens == say(chat).usage.total_tokens
    assert all(event.usage is None for event in events[:-1])


def test_responses(chat: openai.OpenAI, backbone: Backbone) -> None:
    messages = [{"role": "system", "content": "be brief"}, *QUESTION]
    text, asked, said = generated(backbone, messages, LENGTH)
    text = text.rstrip("\ufffd").rstrip()
    given: list[Any] = [
        {"input": QUESTION[0]["content"], "instructions": "be brief"},
        {"input": [{"role": "developer", "content": "be brief"}, *QUESTION]},
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": QUESTION[0]["content"]}],
                }
            ],
            "instructions": "be brief",
        },
    ]
    for fields in given:
        got = chat.responses.create(model="champion", max_output_tokens=LENGTH, **fields)
        assert got.output_text == text
        assert got.usage is not None
        assert (got.usage.input_tokens, got.usage.output_tokens) == (asked, said)
        assert got.status == ("incomplete" if said == LENGTH else "completed")
        assert got.melo["version"]  # type: ignore[attr-defined]
    follow: Any = [*QUESTION, *(o.model_dump() for o in got.output), *QUESTION]
    assert chat.responses.create(model="champion", input=follow, max_output_tokens=3).usage
    told: Any = chat.responses.create(
        model="champion",
        input=QUESTION,
        max_output_tokens=4,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
        store=False,
        metadata={"a": "b"},
        text={"format": {"type": "text"}},
        truncation="disabled",
        parallel_tool_calls=True,
    )
    [part] = told.output[0].content
    assert len(part.logprobs) == 4
    assert told.metadata == {"a": "b"}


def test_a_streamed_response(chat: openai.OpenAI) -> None:
    whole = chat.responses.create(model="champion", input=QUESTION, max_output_tokens=LENGTH)
    events = list(
        chat.responses.create(
            model="champion", input=QUESTION, max_output_tokens=LENGTH, stream=True
        )
    )
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-1] == f"response.{whole.status}"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text == events[-1].response.output_text  # type: ignore[union-attr]
    assert events[-1].response.usage.total_tokens == whole.usage.total_tokens  # type: ignore[union-attr]
    with chat.responses.stream(model="champion", input=EDITED[0]) as stream:
        assert stream.get_final_response().output_text == ANSWERS[EDITED[0]]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp-1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"n": 2}, "n:"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"truncation": "auto"}, "truncation"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input_image"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}, "input"),
        ({"conversation": "c"}, "conversation"),
    ],
)
def test_what_a_response_can_not_be_is_refused_by_name(
    chat: openai.OpenAI, fields: dict[str, Any], named: str
) -> None:
    body = {"model": "champion", "input": "who ?", **fields}
    with pytest.raises(openai.BadRequestError, match=named):
        chat.post("/responses", body=body, cast_to=object)


def test_32_at_once(chat_server: Running, backbone: Backbone) -> None:
    asked: list[Any] = conversations(24, seed=5)
    asked += [[{"role": "user", "content": EDITED[i % 2]}] for i in range(8)]

    async def run() -> list[tuple[str, str | None]]:
        async with openai.AsyncOpenAI(
            base_url=f"{chat_server.url}/v1", api_key="any", max_retries=0
        ) as client:

            async def one(number: int, messages: Any) -> tuple[str, str | None]:
                fields = {"model": "champion", "messages": messages, "max_tokens": LENGTH}
                if number % 2:
                    got = await client.chat.completions.create(**fields)
                    choice: Any = got.choices[0]
                    return choice.message.content, choice.melo["edit"]
                text, edit = "", None
                async for event in await client.chat.completions.create(**fields, stream=True):
                    text += event.choices[0].delta.content or ""
                    edit = getattr(event.choices[0], "melo", {"edit": edit})["edit"]
                return text, edit

            return await asyncio.gather(*(one(i, m) for i, m in enumerate(asked)))

    got = asyncio.run(run())
    for messages, (text, edit) in zip(asked[:24], got[:24], strict=True):
        assert text == generated(backbone, messages, LENGTH)[0].rstrip("\ufffd").rstrip()
        assert edit is None
    for messages, (text, edit) in zip(asked[24:], got[24:], strict=True):
        assert text == ANSWERS[messages[0]["content"]]
        assert edit
