"""One rule finds where a model is read and edited; what it cannot read it says."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from melo_engine import Backbone, Editor, Surgery
from melo_engine.errors import BackboneError
from melo_engine.surgery import find_surgery, projection_sizes
from tests.melo_engine import models

EXPECTED = {
    "gpt2": ("transformer.h.0", ("c_fc", "c_proj")),
    "llama": ("model.layers.0", ("gate_proj", "up_proj", "down_proj")),
    "qwen3": ("model.layers.0", ("gate_proj", "up_proj", "down_proj")),
    "gemma3": ("model.layers.0", ("gate_proj", "up_proj", "down_proj")),
    "t5": ("encoder", ("wi", "wo")),
    "bert2bert": ("encoder", ("intermediate.dense", "output.dense")),
    "bert-classifier": ("bert.encoder.layer.0", ("intermediate.dense", "output.dense")),
}


@pytest.mark.parametrize("kind", models.KINDS)
def test_the_rule_finds_the_last_mlp_and_a_key_before_it(make_edited, kind: str) -> None:
    surgery = make_edited(kind).backbone.surgery
    key, ends = EXPECTED[kind]
    assert surgery.key_module == key
    assert len(surgery.targets) == len(ends)
    assert all(name.endswith(end) for name, end in zip(surgery.targets, ends, strict=True))
    assert all(".1." in name and "ttention" not in name for name in surgery.targets)


def test_of_many_layers_the_last_is_edited() -> None:
    config = LlamaConfig(
        vocab_size=9,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=8,
        num_attention_heads=2,
    )
    surgery = find_surgery(LlamaForCausalLM(config))
    assert surgery.key_module == "model.layers.6"
    assert {name.split(".")[2] for name in surgery.targets} == {"7"}


def test_with_one_layer_the_key_is_the_embedding() -> None:
    config = LlamaConfig(
        vocab_size=9,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    assert find_surgery(LlamaForCausalLM(config)).key_module == "model.embed_tokens"


def test_a_surgery_by_hand_is_followed() -> None:
    surgery = Surgery("transformer.wte", ("transformer.h.0.mlp.c_proj",))
    backbone = Backbone.wrap(models.model("gpt2"), models.tokenizer(), surgery=surgery)
    editor = Editor(backbone, settings=models.SETTINGS)
    request = models.requests("gpt2", 1)[0]
    editor.edit([request])
    assert editor.answer([request.prompt])[0].text == request.target
    assert len(editor.version.place(request.id)[0].pairs) == 1


def test_what_cannot_be_edited_is_said() -> None:
    with pytest.raises(BackboneError, match="has no stack of layers"):
        find_surgery(torch.nn.Linear(2, 2))
    with pytest.raises(BackboneError, match="Linear or Conv1D; got LayerNorm"):
        projection_sizes(torch.nn.LayerNorm(2))
