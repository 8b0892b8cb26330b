"""Keys, scopes, rates: who may do what."""

from __future__ import annotations

import json
import logging
import stat
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

import httpx
import pytest

from config import Settings
from serving.errors import CanNotServe, KeyProblem
from serving.keys import KeyStore
from serving.limits import Rate, RequestRefused
from serving.server import build
from serving.service import AnsweringService
from tests.conftest import Melo
from tests.serving.support import EDITED, Running, running, tuned

QUESTION = {"prompt": EDITED[0]}


def test_each_scope_opens_its_own_doors_and_no_others(
    two_versions: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = tuned(two_versions, auth="keys", port=0)
    store = KeyStore(settings.paths.keys)
    keys = {scope: store.add(scope, [scope])[1] for scope in ("ask", "report", "admin")}
    doors = {
        "ask": ("POST", "/v1/completions", QUESTION),
        "report": ("POST", "/feedback", {"prompt": "who", "target": "eva"}),
        "admin": ("POST", "/admin/reload", None),
    }
    with (
        caplog.at_level(logging.DEBUG, "melo"),
        running(settings) as server,
        server.client() as client,
    ):
        for method, path, body in doors.values():
            for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer x"}):
                refused = client.request(method, path, json=body, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
        wrong = keys["ask"][:-1] + ("A" if keys["ask"][-1] != "A" else "B")
        assert client.get("/v1/models", headers=bearer(wrong)).status_code == 401
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearer(keys["ask"])).status_code == 403
        assert b"melo_requests" in client.get("/metrics", headers=bearer(keys["admin"])).content
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        for scope, key in keys.items():
            for needed, (method, path, body) in doors.items():
                got = client.request(method, path, json=body, headers=bearer(key))
                allowed = scope in (needed, "admin")
                assert (got.status_code in (200, 201)) == allowed, (scope, needed, got.text)
                assert allowed or got.status_code == 403
        store.revoke("ask")
        time.sleep(1.1)
        gone = client.get("/v1/models", headers=bearer(keys["ask"]))
        assert gone.status_code == 401
    files = settings.paths.inbox.glob("*.jsonl")
    sources = {json.loads(p.read_text())["source"] for p in files}
    assert sources == {"feedback/report", "feedback/admin"}
    assert not any(key in caplog.text for key in keys.values())
    assert EDITED[0] not in caplog.text


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys_are_kept_as_hashes_that_only_their_owner_may_read(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    entry, key = store.add("ci", ["ask"])
    text = (tmp_path / "keys.json").read_text()
    assert key not in text
    assert key.split("-", 2)[2] not in text
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert KeyStore(tmp_path / "keys.json").find(key) == entry
    assert store.find(key + "x") is None
    assert store.find("\udcff") is None


def test_a_key_ends_when_its_time_is_over(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    _, key = store.add("ci", ["ask"], days=1)
    rows = json.loads((tmp_path / "keys.json").read_text())
    rows[0]["ends"] = "2020-01-01T00:00:00+00:00"
    (tmp_path / "keys.json").write_text(json.dumps(rows))
    assert KeyStore(tmp_path / "keys.json").find(key) is None


def test_a_key_file_that_can_not_be_read_lets_nobody_in(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    _, key = store.add("ci", ["ask"])
    (tmp_path / "keys.json").write_text("{")
    assert KeyStore(tmp_path / "keys.json").find(key) is None
    with pytest.raises(KeyProblem, match="Restore"):
        store.add("other", ["ask"])


def test_the_command_adds_lists_and_revokes(
    two_versions: Settings, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(two_versions.home)
    made = melo.json("keys", "add", "phone", "--scope", "ask", "--scope", "report")
    listed = melo.json("keys", "list")
    assert [(k["name"], k["scopes"], k["valid"]) for k in listed] == [
        ("phone", ["ask", "report"], True)
    ]
    assert made["key"] not in json.dumps(listed)
    assert melo.json("keys", "revoke", "phone") == [made["id"]]
    assert melo("keys", "revoke", "phone")[0] == 2
    assert (
        "allowed are ask, report, review, admin" in melo("keys", "add", "x", "--scope", "root")[2]
    )


def test_it_does_not_start_open_to_the_network_or_without_a_key(two_versions: Settings) -> None:
    def service(**serve: object) -> AnsweringService:
        return AnsweringService(
            tuned(two_versions, record=False, **serve), lambda: None, lambda b: ""
        )  # type: ignore[arg-type,return-value]

    with pytest.raises(CanNotServe, match="loopback only"):
        build(service(auth="none", host="0.0.0.0"))
    with pytest.raises(CanNotServe, match="melo keys add"):
        build(service(auth="keys"))


def test_a_key_may_ask_so_often_a_minute_and_again_later() -> None:
    now = [0.0]
    rate = Rate(60, clock=lambda: now[0])
    for _ in range(60):
        rate.spend("a")
    with pytest.raises(RequestRefused) as refused:
        rate.spend("a")
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    rate.spend("b")
    now[0] = 1.0
    rate.spend("a")


def test_above_its_rate_a_key_is_told_when_to_come_back(two_versions: Settings) -> None:
    with running(tuned(two_versions, requests_per_minute=3)) as server, server.client() as client:
        codes = [client.get("/v1/models").status_code for _ in range(5)]
        last: httpx.Response = client.get("/v1/models")
    assert codes == [200, 200, 200, 429, 429]
    assert int(last.headers["retry-after"]) >= 1
    assert last.json()["error"]["code"] == "rate_limited"


def test_without_keys_no_page_asks_whose_host_was_rebound_to_this_machine(
    two_versions: Settings,
) -> None:
    allowed = "https://melo.example"
    with running(tuned(two_versions, cors_origins=[allowed])) as server, server.client() as client:
        port = server.url.rpartition(":")[2]

        def ask(host: str, origin: str | None) -> httpx.Response:
            headers = {"host": host} | ({} if origin is None else {"origin": origin})
            return client.post("/v1/route", json={"input": EDITED[0]}, headers=headers)

        for host in (f"evil.example:{port}", "EVIL.example", "10.1.2.3", "[2001:db8::1]:80"):
            refused = ask(host, f"http://{host}")
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_page")
            assert ask(host, None).status_code == 200  # a client behind a proxy is no page
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "[::1]:80", "melo.localhost"):
            assert ask(host, f"http://{host}").status_code == 200
        assert ask("melo.example", allowed).status_code == 200
        assert ask(f"127.0.0.1:{port}", "app://elsewhere").status_code == 200


def test_probes_may_ask_for_the_head_alone(server: Running) -> None:
    with server.client() as client:
        for path in ("/healthz", "/readyz"):
            head = client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == client.get(path).headers["content-type"]


def test_the_page_of_fields_needs_nothing_from_elsewhere(server: Running) -> None:
    with server.client() as client:
        page, schema = client.get("/docs"), client.get("/openapi.json").json()
    assert page.status_code == 200
    assert "://" not in page.text
    assert "<script" not in page.text
    for path in schema["paths"]:
        assert escape(path) in page.text
    for name, part in schema["components"]["schemas"].items():
        assert f'id="{name}"' in page.text
        assert all(f"<code>{field}</code>" in page.text for field in part.get("properties", ()))


def test_the_list_of_models_is_found_with_a_slash_behind_it_too(server: Running) -> None:
    with server.client() as client:
        assert client.get("/v1/models/").json() == client.get("/v1/models").json()
