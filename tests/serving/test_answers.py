"""Answers over HTTP are the engine's, each with where it came from."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from melo_engine import Editor
from tests.serving.support import ANSWERS, EDITED, UNEDITED, Running


@pytest.fixture
def editor(server: Running) -> Editor:
    """The engine with the version that the server serves."""
    return server.service.versions.serving()["champion"].editor


def test_answers_are_the_engines_and_say_where_they_come_from(
    server: Running, editor: Editor
) -> None:
    prompts = [*EDITED, *UNEDITED]
    expected = editor.answer(prompts)
    got = server.ask(prompts)["choices"]  # type: ignore[arg-type]
    assert [c["text"] for c in got] == [a.text for a in expected]
    for choice, answer in zip(got, expected, strict=True):
        said = choice["melo"]
        assert said["version"] == editor.version.id
        assert (said["edit"], said["block"]) == (answer.edit, answer.route.block)
        if answer.edit is not None:
            assert said["distance"] == pytest.approx(answer.route.distance, abs=1e-5)
            assert said["radius"] == answer.route.radius
    assert [c["text"] for c in got[:2]] == list(ANSWERS.values())
    base = editor.answer(UNEDITED, base=True)
    assert [c["text"] for c in got[2:]] == [a.text for a in base]


def test_many_clients_get_the_answers_that_one_gets_alone(server: Running) -> None:
    prompts = [*EDITED, *UNEDITED] * 8
    alone = {p: server.ask(p)["choices"][0] for p in set(prompts)}
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda p: server.ask(p)["choices"][0], prompts))
    for prompt, choice in zip(prompts, together, strict=True):
        assert choice["text"] == alone[prompt]["text"]
        assert choice["melo"]["edit"] == alone[prompt]["melo"]["edit"]
    largest = [
        sample.value
        for metric in server.service.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "melo_batch_rows_bucket" and sample.labels["le"] in ("1.0", "+Inf")
    ]
    assert largest[0] < largest[1], "no batch held more than one answer"


def test_a_drawn_answer_depends_on_its_seed_and_on_no_neighbour(server: Running) -> None:
    ask = {"temperature": 1.5, "max_tokens": 6, "seed": 7}
    alone = server.ask(UNEDITED[0], **ask)["choices"][0]["text"]
    prompts = [*EDITED, *UNEDITED]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(
                lambda i: server.ask(UNEDITED[0] if i == 3 else prompts[i % 5], **ask), range(8)
            )
        )
    assert together[3]["choices"][0]["text"] == alone
    seeds = [server.ask(UNEDITED[0], **{**ask, "seed": s})["choices"][0]["text"] for s in range(6)]
    assert len(set(seeds)) > 1


def test_several_drawn_answers_to_one_prompt_differ(server: Running) -> None:
    got = server.ask(UNEDITED[0], temperature=1.5, n=8, seed=1)["choices"]
    assert [c["index"] for c in got] == list(range(8))
    assert len({c["text"] for c in got}) > 1


def test_a_tiny_nucleus_is_greedy(server: Running) -> None:
    greedy = server.ask(UNEDITED[0])["choices"][0]["text"]
    drawn = server.ask(UNEDITED[0], temperature=2, top_p=1e-6, n=4, seed=1)["choices"]
    assert {c["text"] for c in drawn} == {greedy}


def test_an_answer_ends_at_its_length_and_at_its_stop_text(server: Running) -> None:
    whole = server.ask(UNEDITED[0], temperature=1.5, seed=5, max_tokens=6)
    words = whole["choices"][0]["text"].split()
    assert len(words) > 2
    short = server.ask(UNEDITED[0], temperature=1.5, seed=5, max_tokens=2)
    assert short["choices"][0]["text"].split() == words[:2]
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 2
    stopped = server.ask(UNEDITED[0], temperature=1.5, seed=5, max_tokens=6, stop=["~", words[1]])
    assert stopped["choices"][0]["text"].strip() == words[0]
    assert stopped["choices"][0]["finish_reason"] == "stop"


def test_a_stream_adds_up_to_the_whole_answer(server: Running) -> None:
    body = {
        "prompt": [EDITED[0], *UNEDITED],
        "temperature": 1.0,
        "seed": 3,
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    whole = server.ask(**{k: v for k, v in body.items() if "stream" not in k})  # type: ignore[arg-type]
    texts = [""] * 8
    ended = {}
    with server.client() as client, client.stream("POST", "/v1/completions", json=body) as stream:
        events = [line[6:] for line in stream.iter_lines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    usage = json.loads(events.pop())["usage"]
    for event in map(json.loads, events):
        [choice] = event["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["finish_reason"]:
            ended[choice["index"]] = choice["melo"]["edit"]
    assert texts == [c["text"] for c in whole["choices"]]
    assert ended == {c["index"]: c["melo"]["edit"] for c in whole["choices"]}
    assert usage == whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_route_is_told_without_an_answer(server: Running, editor: Editor) -> None:
    with server.client() as client:
        got = client.post("/v1/route", json={"input": [EDITED[1], UNEDITED[0]]}).json()
    routes = editor.routes([EDITED[1], UNEDITED[0]])
    assert [r["edit"] for r in got["data"]] == [r.edit for r in routes]
    assert got["data"][0]["block"] == routes[0].block


def test_versions_can_be_named(server: Running, editor: Editor) -> None:
    assert server.ask(EDITED[0], model="base")["choices"][0]["melo"] == {
        "version": "base",
        "edit": None,
        "block": None,
        "distance": None,
        "radius": None,
    }
    second = server.ask(EDITED[0], model="candidate")["choices"][0]
    assert second["text"] == "eva"
    by_id = server.ask(EDITED[0], model=second["melo"]["version"])
    assert by_id["choices"][0] == second
    assert server.ask(EDITED[0], model=editor.version.id)["choices"][0]["text"] == "ada"


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "a/b",
        "champion/..",
        "%2e%2e",
        "nobody",
        "0" * 32,
        "C:\\x",
        "a\x00b",
        "models:/x@champion",
        "file:///etc/passwd",
        "previous",
    ],
)
def test_a_name_that_is_no_version_is_refused(server: Running, name: str) -> None:
    with server.client() as client:
        got = client.post("/v1/completions", json={"prompt": "who", "model": name})
        assert (got.status_code, got.json()["error"]["code"]) == (404, "model_not_found")
        listed = client.get("/v1/models/" + quote(name, safe=""))
        assert listed.status_code == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "prompt"),
        ({"prompt": "  "}, "word"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "no word"),
        ({"prompt": [5, 10**9]}, "token 1000000000 is unknown"),
        ({"prompt": [[5], ["who"]]}, "prompt"),
        ({"prompt": "who", "temperature": 3}, "temperature"),
        ({"prompt": "who", "n": 0}, "n:"),
        ({"prompt": "who", "n": 60}, "60 answers"),
        ({"prompt": "who", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "who", "echo": True}, "echo"),
        ({"prompt": "who", "logit_bias": {"5": 1}}, "logit_bias"),
        ({"prompt": "who", "nonsense": 1}, "nonsense"),
        ({"prompt": "who " * 600}, "tokens"),
        ({"prompt": "x" * 1_000_001}, "1000000"),
        ({"prompt": "who", "suffix": "?"}, "suffix"),
        ({"prompt": "who", "stop": ["a"] * 5}, "stop: at most 4, got 5."),
        ({"prompt": "who", "stop": [1]}, "stop: give a text or up to four."),
        ({"prompt": ["who"] * 65}, "prompt: at most 64, got 65."),
        ({"prompt": None}, "prompt: Field required."),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    server: Running, body: dict[str, object], says: str
) -> None:
    with server.client() as client:
        got = client.post("/v1/completions", json=body)
    assert got.status_code == 400
    assert says in got.json()["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "seed": NaN}',
        b'{"prompt": "a", "temperature": Infinity}',
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b'{"prompt": "a", "temperature": 1e400}',
    ],
)
def test_a_body_that_is_no_question_is_refused(server: Running, raw: bytes) -> None:
    with server.client() as client:
        got = client.post(
            "/v1/completions", content=raw, headers={"content-type": "application/json"}
        )
    assert got.status_code == 400
    assert set(got.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'{"prompt": "who",\n }', "at line 2, column 2"),
        (b"prompt=who", "at line 1, column 1"),
        (b"{}{}", "Extra data at line 1, column 3"),
        (b'{"prompt": "\xe9"}', "byte 13 is no UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"seed": 1' + b"0" * 5000 + b"}", "too many digits"),
    ],
)
def test_a_body_that_is_no_json_is_told_so_and_where(
    server: Running, raw: bytes, where: str
) -> None:
    with server.client() as client:
        got = client.post("/v1/chat/completions", content=raw)
    assert got.status_code == 400
    error = got.json()["error"]
    assert (error["code"], error["param"]) == ("not_json", None)
    assert error["message"].startswith("the body is no JSON: ")
    assert where in error["message"]


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain", "x"])
def test_a_body_is_read_as_json_whatever_it_is_called(server: Running, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    body = json.dumps({"prompt": EDITED[0]}).encode()
    with server.client() as client:
        got = client.post("/v1/completions", content=body, headers=headers)
        assert got.json()["choices"][0]["text"] == ANSWERS[EDITED[0]]
        # Another origin's page may send these without asking first.
        foreign = {**headers, "origin": "https://elsewhere.example"}
        refused = client.post("/v1/completions", content=body, headers=foreign)
        plain = {"origin": "null", "content-type": "application/json; charset=utf-8"}
        assert client.post("/v1/completions", content=body, headers=plain).status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "not_json")
    assert "Content-Type: application/json" in refused.json()["error"]["message"]


def test_a_field_that_is_null_is_one_that_is_not_there(server: Running) -> None:
    fields = ("model", "temperature", "n", "stop", "stream", "melo_explain", "max_tokens", "user")
    nulls = dict.fromkeys(fields)
    assert server.ask(EDITED[0], **nulls)["choices"] == server.ask(EDITED[0])["choices"]
    with server.client() as client:
        options = {"prompt": EDITED[0], "stream": True, "stream_options": {"include_usage": None}}
        assert client.post("/v1/completions", json=options).status_code == 200
        route = {"model": None, "input": EDITED[0], "messages": None}
        assert client.post("/v1/route", json=route).json()["data"][0]["edit"]
        message = {"role": "user", "content": EDITED[0], "name": None}
        chat = {"model": None, "messages": [message]}
        assert client.post("/v1/chat/completions", json=chat).status_code == 200
        report = {"prompt": EDITED[0], "index": None, "rephrases": None, "comment": None}
        assert client.post("/feedback", json=report).status_code == 201
