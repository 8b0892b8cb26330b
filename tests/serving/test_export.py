"""A version taken out of here: standard adapters, the index as data, a router."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file

from config import Settings
from melo_engine.blocks import gather
from melo_engine.projection import KeyProjection
from melo_engine.runtime import Pass
from tasks.versions import open_backbone, open_editor, open_ledger
from tests.conftest import Melo
from tests.serving.support import EDITED, SECOND, UNEDITED, running

PAGE = Path(__file__).parents[2] / "docs" / "vllm.md"


@pytest.fixture
def exported(two_versions: Settings, tmp_path: Path, melo_in: Callable[[Path], Melo]) -> Path:
    """The second version, as adapters."""
    with open_ledger(two_versions) as ledger:
        version = ledger.versions()[-1].id
    told = melo_in(two_versions.home).json("export", "peft", version, str(tmp_path / "adapters"))
    assert told["adapters"] == len(SECOND)
    return tmp_path / "adapters"


def test_every_adapter_gives_the_blocks_logits_in_peft(
    two_versions: Settings, exported: Path
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    index = json.loads((exported / "index.json").read_text())
    backbone = open_backbone(two_versions)
    editor = open_editor(two_versions, index["version"])
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
    editor = open_editor(two_versions, index["version"])
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
        version = ledger.versions()[-1].id
    for arguments in (
        ("base", "new"), (version, str(exported)), (version, str(exported.parent / "x"), "--edit", "no"),
    ):  # fmt: skip
        code, _, said = melo("export", "peft", *arguments)
        assert code == 2
        assert len(said.strip().splitlines()) == 1


def test_the_page_on_vllm_shows_a_router_that_finds_the_adapters(
    exported: Path, two_versions: Settings
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    index = json.loads((exported / "index.json").read_text())
    by_prompt = {entry["prompt"]: entry["adapter"] for entry in index["adapters"]}
    with running(two_versions) as server:
        names = {"MELO": server.url, "KEY": "any", "FOLDER": exported, "VERSION": index["version"]}
        exec(compile(code, str(PAGE), "exec"), names)
        for prompt, adapter in by_prompt.items():
            assert names["adapter_for"](prompt) == adapter  # type: ignore[operator]
        assert names["adapter_for"](UNEDITED[0]) is None  # type: ignore[operator]
