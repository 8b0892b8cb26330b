"""A version taken out of here: standard adapters, the index as data, a router."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import peft
import pytest
import torch
import uvicorn
from safetensors.torch import load_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from config import Settings
from execution.context import Context, open_ledger
from execution.versions import Versions
from melo_engine.blocks import gather
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Pass
from tasks.edit.requests import request_of
from tasks.ingest import ingest_rows
from tests.conftest import Melo, report
from tests.serving.support import EDITED, SECOND, UNEDITED, running, until

PAGE = Path(__file__).parents[2] / "docs" / "vllm.md"


@pytest.fixture
def exported(two_versions: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]) -> Path:
    """The second version, as adapters."""
    with open_ledger(two_versions) as ledger:
        version = ledger.versions.all()[-1].id
    told = melo_in(two_versions.home).json("export", "peft", version, str(tmp_path / "adapters"))
    assert told["adapters"] == len(SECOND)
    return tmp_path / "adapters"


def test_every_adapter_gives_the_blocks_logits_in_peft(
    two_versions: Settings, exported: Path
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    index = json.loads((exported / "index.json").read_text())
    backbone = Versions(two_versions).backbone
    editor = Versions(two_versions).editor(index["version"])
    model = None
    for entry in index["adapters"]:
        name, folder = entry["adapter"], exported / entry["adapter"]
        if model is None:
            bare = AutoModelForSeq2SeqLM.from_pretrained(str(two_versions.backbone.path))
            model = peft.PeftModel.from_pretrained(bare, folder, adapter_name=name)
        else:
            model.load_adapter(folder, adapter_name=name)
    assert model is not None
    batch = backbone.encode([*EDITED, *UNEDITED])
    batch["decoder_input_ids"] = batch["input_ids"][:, :3]
    count = len(batch["input_ids"])
    with torch.inference_mode():
        for entry in index["adapters"]:
            model.set_adapter(entry["adapter"])
            found = model(**batch).logits
            places = [editor.version.place(entry["edit"])] * count
            blocks = gather(places, backbone.device, backbone.dtype)
            with editor.runtime.running(Pass(blocks)):
                expected = backbone.model(**batch).logits
            assert torch.allclose(found, expected, atol=1e-4)


def test_the_index_is_there_as_data(two_versions: Settings, exported: Path) -> None:
    index = json.loads((exported / "index.json").read_text())
    editor = Versions(two_versions).editor(index["version"])
    stored = KeyProjection.from_bytes((exported / index["projection"]["file"]).read_bytes())
    assert stored.content_hash() == editor.version.projection_hash
    for entry in index["adapters"]:
        member = editor.version.index[entry["edit"]]
        key = load_file(exported / entry["key"]["file"])["key"]
        assert torch.equal(key, torch.from_numpy(member.key))
        assert entry["radius"] == member.radius


def test_what_can_not_be_exported_is_said(
    two_versions: Settings, exported: Path, melo_in: Callable[[Path], Melo]
) -> None:
    melo = melo_in(two_versions.home)
    with open_ledger(two_versions) as ledger:
        version = ledger.versions.all()[-1].id
    for arguments in (
        ("base", "new"),
        (version, str(exported)),
        (version, str(exported.parent / "x"), "--edit", "no"),
    ):
        code, _, said = melo("export", "peft", *arguments)
        assert code == 2
        assert len(said.strip().splitlines()) == 1


def test_an_edit_is_named_by_its_ids_beginning_as_in_other_commands(
    two_versions: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]
) -> None:
    with open_ledger(two_versions) as ledger:
        context = Context(two_versions, ledger)
        ingest_rows(context, [report(3), report(4)], source="desk")
        edit, other = ledger.edits.find()
        editor = context.versions.editor(ledger.versions.all()[-1].id)
        version = editor.edit([request_of(edit)]).version
        context.versions.save(version)
        ledger.versions.record(version.id, parent=None, job_id=None)
    melo = melo_in(two_versions.home)
    export = ("export", "peft", version.id[:12], str(tmp_path / "one"), "--edit")
    code, _, said = melo(*export, other.id[:12])
    assert (code, f"edit {other.id} is not in version" in said) == (2, True)
    assert not (tmp_path / "one").exists()
    assert melo.json(*export, edit.id[:8], "--edit", edit.id)["adapters"] == 1
    [adapter] = json.loads((tmp_path / "one" / "index.json").read_text())["adapters"]
    assert adapter["edit"] == edit.id


class Upstream:
    """A server in vLLM's place: streams two pieces, the second when it is told to. asked: its models."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        paths = ("/v1/completions", "/v1/chat/completions")
        self.app = Starlette(routes=[Route(p, self.answer, methods=["POST"]) for p in paths])

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body["model"])
        return StreamingResponse(self.pieces(), media_type="text/event-stream")

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"data: first\n\n"
        await asyncio.to_thread(self.go_on.wait, 60)
        yield b"data: [DONE]\n\n"


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """A real server of an application, in a thread; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def test_the_page_on_vllm_shows_a_router_that_streams_with_the_adapter_of_each_request(
    exported: Path, two_versions: Settings
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    index = json.loads((exported / "index.json").read_text())
    version, upstream = index["version"], Upstream()
    expected = {entry["prompt"]: f"{version}:{entry['edit']}" for entry in index["adapters"]}
    expected[UNEDITED[0]] = "backbone"
    with running(two_versions) as melo, serving(upstream.app) as vllm:
        names: dict[str, Any] = {
            "MELO": melo.url,
            "KEY": "any",
            "VERSION": version,
            "VLLM": vllm,
            "BACKBONE": "backbone",
        }
        exec(compile(code, str(PAGE), "exec"), names)
        with serving(names["app"]) as url, httpx.Client(base_url=url, timeout=60) as client:
            for prompt, model in expected.items():
                chat = {"messages": [{"role": "user", "content": prompt}]}
                for path, body in (("", {"prompt": prompt}), ("/chat", chat)):
                    upstream.go_on.clear()
                    with client.stream("POST", f"/v1{path}/completions", json=body) as got:
                        pieces = got.iter_raw()
                        assert next(pieces) == b"data: first\n\n", "before the answer has ended"
                        upstream.go_on.set()
                        assert b"".join(pieces) == b"data: [DONE]\n\n"
                    assert upstream.asked[-1] == model
            refused = client.post("/v1/chat/completions", json={"messages": []})
            assert refused.status_code == 400
            assert refused.json()["error"]["message"]
