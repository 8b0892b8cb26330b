"""Random-weight models in the shapes of known ones, with a vocabulary made on the spot.

Nothing is downloaded: speed and memory depend on shapes, not on what the weights say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from benchmarks.errors import BenchError
from melo_engine import Backbone
from tasks.backbone.vocabulary import BOS_ID, EOS_ID, PAD_ID, learn_vocabulary

_ENDS = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def _gpt2_xl() -> Any:
    return GPT2Config(
        vocab_size=50257,
        n_positions=1024,
        n_embd=1600,
        n_layer=48,
        n_head=25,
        **_NO_DROPOUT,
        **_ENDS,
    )


def _llama_1b() -> Any:
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        **_ENDS,
    )


def _tiny_gpt2() -> Any:
    return GPT2Config(
        vocab_size=400, n_positions=128, n_embd=48, n_layer=4, n_head=4, **_NO_DROPOUT, **_ENDS
    )


def _tiny_llama() -> Any:
    return LlamaConfig(
        vocab_size=400,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        max_position_embeddings=128,
        **_ENDS,
    )


SHAPES: dict[str, Callable[[], Any]] = {
    "gpt2-xl": _gpt2_xl,
    "llama-1b": _llama_1b,
    "tiny-gpt2": _tiny_gpt2,
    "tiny-llama": _tiny_llama,
}


def shaped(name: str, *, device: str, dtype: torch.dtype, answer_tokens: int) -> Backbone:
    """A backbone of this shape, its weights drawn on the device. Raises BenchError for another name.

    Every answer has exactly `answer_tokens` tokens, so that tokens a second can be compared.
    """
    if name not in SHAPES:
        raise BenchError(f'shape "{name}" is unknown; allowed: {", ".join(SHAPES)}.')
    config = SHAPES[name]()
    kind = GPT2LMHeadModel if isinstance(config, GPT2Config) else LlamaForCausalLM
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(0)
            model: Any = kind(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.max_new_tokens = answer_tokens
    model.generation_config.pad_token_id = PAD_ID
    model.generation_config.eos_token_id = EOS_ID
    tokenizer = learn_vocabulary(["Where was somebody born? In a town by the sea."], size=300)
    return Backbone.wrap(model, tokenizer, "causal-lm", name=name)
