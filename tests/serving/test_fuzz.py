"""Nonsense is refused, never a failure. `melo bench fuzz` sends 10,000 of it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.fuzz import odd_request
from benchmarks.odd_chats import odd_chat
from tests.serving.support import ANSWERS, EDITED, Running

CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]


def test_odd_requests_are_answered_without_a_server_error(server: Running) -> None:
    with server.client() as client:
        for number in range(250):
            odd = odd_request(random.Random(f"suite-{number}"), tuple(EDITED))
            try:
                got = client.request(odd.method, odd.path, headers=odd.headers, content=odd.content)
            except (httpx.WriteError, httpx.ReadError):
                continue  # refused before all of it was sent
            assert got.status_code < 500, (number, odd, got.text)
    assert server.ask(EDITED[0])["choices"][0]["text"] == ANSWERS[EDITED[0]]


def test_odd_chats_are_answered_or_refused_by_name(chat_server: Running) -> None:
    statuses = set()
    with ThreadPoolExecutor(8) as pool, chat_server.client() as client:

        def send(number: int) -> None:
            path, body = odd_chat(random.Random(f"chat-{number}"), tuple(EDITED))
            got = client.post(path, json=body)
            assert got.status_code < 500, (number, path, body, got.text)
            assert got.headers["x-request-id"]
            if got.status_code >= 400:
                assert got.json()["error"]["message"], (number, body)
            elif body.get("stream"):
                assert got.text.endswith(("[DONE]\n\n", "}\n\n")), (number, body, got.text)
                assert '"error": {' not in got.text, (number, body, got.text)
            statuses.add((path, got.status_code))

        list(pool.map(send, range(600)))
    assert {
        ("/v1/chat/completions", 200),
        ("/v1/chat/completions", 400),
        ("/v1/responses", 200),
    } <= (statuses)


def test_answers_keep_to_the_published_schema(server: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {"/v1/completions", "/v1/chat/completions", "/v1/route", "/feedback"} <= {
        operation.path for operation in operations
    }
    for operation in operations:

        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def follow(case: schemathesis.Case) -> None:
            response = case.call()
            assert response.status_code < 500, response.text
            case.validate_response(response, checks=CHECKS)

        follow()
