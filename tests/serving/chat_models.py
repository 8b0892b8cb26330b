"""A tiny chat model: a Llama of two layers with random weights that reads and writes bytes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from melo_engine import Backbone
from serving.texts import byte_letters

TEMPLATE = (
    "{% if messages[0].role == 'assistant' %}{{ raise_exception('begin with another role') }}"
    "{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROOM = 1024  # positions
TEXTS = (
    "be brief",
    "who is it ?",
    "and then ?",
    "Grüße aus Köln",
    "日本の首都は？",
    "👩‍👩‍👧 hi",
    "a\nb",
    "x" * 90,
    "1 2 3",
    "I do not know.",
    "tell me of velandor",
)


def save_chat_model(folder: Path, seed: int = 0) -> Path:
    """Write model and tokenizer, always the same ones."""
    pieces = ["<|pad|>", "<|im_start|>", "<|im_end|>", *byte_letters()]
    backend = Tokenizer(BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(pieces),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=ROOM,
                initializer_range=0.3,
                pad_token_id=0,
                eos_token_id=2,
                bos_token_id=None,
            )
        )
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def conversations(count: int, seed: int = 0) -> list[list[dict[str, str]]]:
    """With and without a system message, of one turn and of several, ending in a user's message."""
    chance, found = random.Random(seed), []
    for _ in range(count):
        messages = []
        if chance.random() < 0.5:
            messages.append({"role": "system", "content": chance.choice(TEXTS)})
        for _ in range(chance.choice((0, 0, 1, 2))):
            messages.append({"role": "user", "content": chance.choice(TEXTS)})
            messages.append({"role": "assistant", "content": chance.choice((*TEXTS, ""))})
        messages.append({"role": "user", "content": chance.choice(TEXTS)})
        found.append(messages)
    return found


@torch.inference_mode()
def generated(
    backbone: Backbone, messages: list[dict[str, str]], length: int
) -> tuple[str, int, int]:
    """What the model itself says, by transformers alone: its text, tokens of prompt and answer."""
    tokenizer, model = backbone.tokenizer, backbone.model
    inputs: Any = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    asked = inputs["input_ids"].shape[1]
    said = model.generate(**inputs, max_new_tokens=length, do_sample=False)[0, asked:]
    ended = int(said[-1]) == tokenizer.eos_token_id
    text = tokenizer.decode(said, skip_special_tokens=True)
    return text.strip(), asked, len(said) - ended
