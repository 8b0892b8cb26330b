"""A block taken out of the engine is a LoRA adapter like any other."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from melo_engine.blocks import gather
from melo_engine.errors import UnknownEdit
from melo_engine.peft_export import export_block, exported_rank
from melo_engine.runtime import Pass
from melo_engine.version import Wording
from tests.melo_engine import models


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bert-classifier"])
def test_peft_gives_the_same_logits_as_the_engine_with_the_block_forced(
    make_edited, kind: str, tmp_path: Path
) -> None:
    edited = make_edited(kind)
    editor, backbone = edited.editor, edited.backbone
    edit = edited.requests[1].id
    folder = editor.export_peft(edit, tmp_path / "adapter")
    batch = backbone.encode(edited.asked)
    if backbone.task == "seq2seq-lm":
        batch["decoder_input_ids"] = batch["input_ids"][:, :3]
    blocks = gather(
        [editor.version.place(edit)] * len(edited.asked), backbone.device, torch.float32
    )
    with torch.inference_mode():
        with editor.runtime.running(Pass(blocks)):
            expected = backbone.model(**batch).logits
        bare = backbone.model(**batch).logits
        loaded = peft.PeftModel.from_pretrained(models.model(kind), folder)
        found = loaded(**batch).logits
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(bare, expected, atol=1e-2)


def test_the_index_entry_says_what_the_adapter_is_for(edited_t5, tmp_path: Path) -> None:
    version = edited_t5.editor.version
    request = edited_t5.requests[0]
    folder = edited_t5.editor.export_peft(request.id, tmp_path / "adapter")
    entry = json.loads((folder / "melo_index.json").read_text())
    assert entry["edit"] == request.id
    assert (entry["prompt"], entry["target"]) == (request.prompt, request.target)
    assert entry["subjects"] == [request.subject]
    assert entry["radius"] == version[request.id].radius
    assert entry["version"] == version.id
    key = load_file(folder / entry["key"]["file"])["key"]
    assert torch.equal(key, torch.from_numpy(version.index[request.id].key))
    assert entry["key"]["compared"] == [0, version.projection.relation_size]
    assert entry["wordings"] == []


def test_keys_of_other_wordings_are_exported_with_their_radii(edited_t5, tmp_path: Path) -> None:
    version, edit = edited_t5.editor.version, edited_t5.requests[0].id
    key = tuple(float(x) for x in version.index[edit].key)
    more = version.with_wordings(edit, [Wording("asked otherwise", key, 0.25)])
    folder = export_block(edited_t5.backbone, more, edit, tmp_path / "adapter")
    entry = json.loads((folder / "melo_index.json").read_text())
    tensors = load_file(folder / entry["key"]["file"])
    assert entry["wordings"] == ["asked otherwise"]
    assert torch.equal(tensors["wordings"], torch.tensor([key]))
    assert tensors["radii"].tolist() == [0.25]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_rank_is_raised_to_one_that_vllm_allows_and_no_output_changes(
    make_edited, kind: str, tmp_path: Path
) -> None:
    edited = make_edited(kind)
    editor, backbone = edited.editor, edited.backbone
    edit = edited.requests[0].id
    shard, row = editor.version.place(edit)
    folder = editor.export_peft(edit, tmp_path / "padded")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert shard.rank == 4
    assert (config["r"], config["lora_alpha"]) == (8, 8)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {min(tensor.shape) for tensor in tensors.values()} == {8}
    bare = tmp_path / "bare"  # the block as it was trained, in the same format
    bare.mkdir()
    (bare / "adapter_config.json").write_text(json.dumps(config | {"r": 4, "lora_alpha": 4}))
    trained = {}
    for name, (a, b) in zip(backbone.surgery.targets, shard.pairs, strict=True):
        lora_A, lora_B = (
            f"base_model.model.{name}.lora_A.weight",
            f"base_model.model.{name}.lora_B.weight",
        )
        trained[lora_A], trained[lora_B] = a[row].T.contiguous(), b[row].T.contiguous()
        product = tensors[lora_B].double() @ tensors[lora_A].double()
        assert torch.equal(product, trained[lora_B].double() @ trained[lora_A].double())
    save_file(trained, bare / "adapter_model.safetensors")
    batch = backbone.encode(edited.asked)
    logits = []
    for adapter in (bare, folder):
        model = peft.PeftModel.from_pretrained(models.model(kind), adapter).eval()
        with torch.inference_mode():
            logits.append(model(**batch).logits)
    assert torch.allclose(*logits, atol=1e-6)


def test_every_rank_becomes_the_smallest_allowed_one_that_holds_it() -> None:
    ranks = {1: 1, 2: 8, 4: 8, 8: 8, 9: 16, 16: 16, 17: 32, 257: 320, 321: 512, 600: 600}
    assert {rank: exported_rank(rank) for rank in ranks} == ranks


def test_an_edit_that_is_not_there_is_not_exported(edited_t5, tmp_path: Path) -> None:
    with pytest.raises(UnknownEdit, match="nobody"):
        edited_t5.editor.export_peft("nobody", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
