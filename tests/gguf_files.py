"""Small GGUF files, written by the gguf package's own writer from a Llama with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END_OF_TEXT, END_OF_TURN = 0, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def small_llama(vocabulary: int) -> Any:
    """Two layers with random weights, always the same ones."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                tie_word_embeddings=False,
                rms_norm_eps=1e-5,
            )
        ).eval()


def byte_level_vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE that was learned from a few words."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.train_from_iterator(
        ["who leads the city of Oslo? Ada Li leads it."] * 4,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    model = json.loads(learned.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tokens, [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    end_of_text: int = END_OF_TEXT,
    end_of_turn: int | None = None,
    template: str | None = CHAT,
    left_out: str | None = None,
    parts: int = 1,
) -> tuple[Path, Any]:
    """Write a model to `path`; return it and the model as transformers made it.

    end_of_text, end_of_turn: what the file says of them. left_out: a tensor that is missing.
    """
    from gguf import GGUFWriter

    tokens, merges = byte_level_vocabulary()
    model = small_llama(len(tokens))
    config = model.config
    writer = GGUFWriter(str(path), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(end_of_text)
    writer.add_bos_token_id(1)
    if end_of_turn is not None:
        writer.add_eot_token_id(end_of_turn)
    if template is not None:
        writer.add_chat_template(template)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    for name, tensor in model.state_dict().items():
        if (stored := _stored_name(name)) != left_out:
            writer.add_tensor(stored, _stored(name, tensor.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, model


def _stored_name(name: str) -> str:
    fixed = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def _stored(name: str, weight: Any, config: Any) -> Any:
    """As llama.cpp stores it: the halves that rotate together stand beside each other."""
    heads = {
        "q_proj": config.num_attention_heads,
        "k_proj": config.num_key_value_heads,
    }.get(name.split(".")[-2])
    if heads is None:
        return weight
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
