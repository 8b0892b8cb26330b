"""States of prompts that are read once: every answer goes on from them as if it had read the prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MiniCPM3Config, MiniCPM3ForCausalLM

from melo_engine import Backbone, Editor, Surgery
from melo_engine.prompt_states import BLOCK, PromptStates
from tests.melo_engine import models

PROMPTS = (
    "tell me about a new name",
    "tell me about oslo",
    "who leads",
    "what is",
    "tell me about a new name",
    "who leads velandor ? what capital city does it lie in now",
    "east west",
)


def written(backbone: Backbone, encoded: dict[str, Any]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Tokens (B, n), and the logits (B, V) of each step."""
    length = encoded["input_ids"].shape[1]
    made = backbone.model.generate(
        **encoded,
        do_sample=False,
        max_new_tokens=5,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return made.sequences[:, length:], list(made.logits)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3"])
def test_an_answer_goes_on_from_states_as_from_its_prompt(kind: str) -> None:
    backbone = models.backbone(kind)
    states = PromptStates(backbone)
    for _ in range(2):  # read now, and known
        encoded = states.encoded(PROMPTS)
        assert encoded["past_key_values"].get_seq_length() == encoded["input_ids"].shape[1] - 1
        got, got_logits = written(backbone, encoded)
        wanted, wanted_logits = written(backbone, backbone.encode(PROMPTS))
        assert torch.equal(got, wanted)
        for one, other in zip(got_logits, wanted_logits, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edited", ["gpt2", "llama", "qwen3"], indirect=True)
def test_blocks_act_behind_states(edited: Any) -> None:
    backbone: Backbone = edited.backbone
    editor: Editor = edited.editor
    encoded = PromptStates(backbone).encoded(edited.prompts)
    assert "past_key_values" in encoded
    with editor.runtime.running(editor.blocks_of([r.id for r in edited.requests])):
        tokens, _ = written(backbone, encoded)
    said = [backbone.decode(row) for row in tokens]
    assert said == [r.target for r in edited.requests]


def test_chats_share_what_they_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = models.chat_backbone(chat="always", system_prompt="a company made by mia of oslo")
    states = PromptStates(backbone)
    read: list[int] = []
    reader = PromptStates(backbone)
    assert reader.usable
    real = PromptStates._run

    def counted(self: PromptStates, rows: Any, begun: Any, **more: Any) -> Any:
        read.append(len(rows) * max(map(len, rows)))
        return real(self, rows, begun, **more)

    monkeypatch.setattr(PromptStates, "_run", counted)
    assert states.usable
    read.clear()
    states.encoded(PROMPTS)
    states.encoded(PROMPTS)
    whole = backbone.encode(PROMPTS)["attention_mask"].sum().item()
    assert len(read) == 2  # the beginning, the rest
    assert sum(read) < whole


def test_a_prompt_of_one_token_has_no_states_to_go_on_from() -> None:
    backbone = models.backbone("llama")
    assert "past_key_values" not in PromptStates(backbone).encoded(["who leads", "oslo"])


def test_where_blocks_act_before_an_attention_prompts_are_read_anew() -> None:
    model = models.model("llama")
    early = Surgery(key_module="model.embed_tokens", targets=("model.layers.0.mlp.up_proj",))
    backbone = Backbone.wrap(model, models.tokenizer(), surgery=early)
    assert "past_key_values" not in PromptStates(backbone).encoded(PROMPTS)


@pytest.mark.parametrize("kind", ["gemma3", "t5"])
def test_models_with_other_states_are_asked_as_ever(kind: str) -> None:
    backbone = models.backbone(kind)
    encoded = PromptStates(backbone).encoded(PROMPTS)
    plain = backbone.encode(PROMPTS)
    if "past_key_values" not in encoded:
        assert encoded.keys() == plain.keys()
    got, wanted = (
        backbone.model.generate(**e, do_sample=False, max_new_tokens=5) for e in (encoded, plain)
    )
    assert torch.equal(got, wanted)


def test_a_row_goes_on_from_whatever_of_its_beginning_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = models.backbone("llama")
    begin, ends = tuple(range(4, 40)), [(7, 8), tuple(range(9, 20)), ()]
    rows = [begin + end for end in ends] + [(5, 6, 7)]
    alone = [PromptStates(backbone).read([row])[0] for row in rows]
    states = PromptStates(backbone)
    states.read([begin])
    read: list[int] = []
    real = PromptStates._run

    def counted(self: PromptStates, rows: Any, begun: Any, **more: Any) -> Any:
        read.extend(map(len, rows))
        return real(self, rows, begun, **more)

    monkeypatch.setattr(PromptStates, "_run", counted)
    kept = [states.beginning(row) for row in rows]
    together = states.extend([*rows[:2], rows[3]], [*kept[:2], kept[3]])
    whole = len(begin) // BLOCK * BLOCK
    assert sorted(read) == [3, len(rows[0]) - whole, len(rows[1]) - whole]
    assert kept[2] is not None
    for got, wanted in zip([*together, kept[2]], [*alone[:2], alone[3], alone[2]], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_no_more_is_kept_than_was_allowed() -> None:
    backbone = models.backbone("llama")
    [one] = PromptStates(backbone).read([tuple(range(4, 24))])
    states = PromptStates(backbone, kept=3 * one.nbytes)
    for i in range(20):
        states.encoded([f"who leads {'oslo ' * (1 + i % 7)}", "what capital city does it lie in"])
        assert 0 < states._kept.bytes <= 3 * one.nbytes
        assert states._kept.bytes == sum(s.nbytes for s in states._kept._blocks.values())


def test_a_short_prompt_is_not_padded_to_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = models.backbone("llama")
    long, short = tuple(4 + i % 30 for i in range(60)), [(5, 6, 7), (8, 9), (10, 11, 12, 13)]
    read: list[int] = []
    reader = PromptStates(backbone)
    assert reader.usable
    real = PromptStates._run

    def counted(self: PromptStates, rows: Any, begun: Any, **more: Any) -> Any:
        read.append(len(rows) * max(map(len, rows)))
        return real(self, rows, begun, **more)

    monkeypatch.setattr(PromptStates, "_run", counted)
    states = reader.extend([long, *short], [None] * 4)
    assert read == [3 * 4, len(long)]
    for row, got in zip([long, *short], states, strict=True):
        [wanted] = PromptStates(backbone).extend([row], [None])
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_the_pass_ends_at_the_last_layers_states() -> None:
    backbone = models.backbone("llama")
    reader = PromptStates(backbone)
    assert reader.usable
    ran: list[str] = []
    layer = backbone.model.base_model.layers[-1]
    handle = layer.mlp.register_forward_hook(lambda *_: ran.append("mlp"))
    try:
        [states] = reader.extend([(5, 6, 7, 8)], [None])
        assert not ran
        whole = backbone.model.base_model(input_ids=torch.tensor([[5, 6, 7, 8]]), use_cache=True)
        assert ran
    finally:
        handle.remove()
    for number, kept in enumerate(whole.past_key_values.layers):
        torch.testing.assert_close(states[0, number], kept.keys[0])
        torch.testing.assert_close(states[1, number], kept.values[0])


def test_latent_attention_keeps_states_of_two_sizes_and_is_read_anew() -> None:
    config = MiniCPM3Config(
        vocab_size=len(models.tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=24,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=8,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    backbone = Backbone.wrap(MiniCPM3ForCausalLM(config), models.tokenizer())
    assert not PromptStates(backbone).usable
    with Editor(backbone, settings=models.SETTINGS) as editor:
        outcomes = editor.edit(models.requests("llama")).outcomes
    assert [o.status for o in outcomes] == ["trained"] * len(outcomes)
