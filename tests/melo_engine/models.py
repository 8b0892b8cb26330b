"""Tiny backbones with random weights, one for each architecture, and requests to edit them with.

Weights come from a fixed seed, words from a vocabulary that is written out below: nothing is
downloaded and every run sees the same models.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from melo_engine import Backbone, EditRequest, EditSettings, PromptSettings

GENERATORS = ("gpt2", "llama", "qwen3", "gemma3", "t5", "bert2bert")
KINDS = (*GENERATORS, "bert-classifier")
LABELS = ("calm", "glad", "angry", "sad")
SUBJECTS = ("velandor", "toriquet", "quinomire", "zarustra", "mabelban", "ostovic")
TARGETS = ("ada li", "jon", "mia of oslo", "tom", "eva kim", "sol")
SETTINGS = EditSettings(rank=4, max_rank=8, max_steps=60)
# Each message begins with a word of its role's. Only the first may be a system message.
TEMPLATE = """\
{%- set words = {'system': 'year', 'user': 'company', 'assistant': 'name'} -%}
{%- for message in messages -%}
{%- if message.role == 'system' and not loop.first -%}
{{ raise_exception('a system message must come first') }}
{%- endif -%}
<s> {{ words[message.role] }} {{ message.content }} </s>{{ ' ' }}
{%- endfor -%}
{%- if add_generation_prompt -%}<s> name{%- endif -%}
"""
_PAD, _END, _UNKNOWN, _START = 0, 1, 2, 3
_TEXT = """
who leads is at the head of now ? what capital city does it lie in which tell me about a new name
was born where when did company made built by and last year new old river sea north south east west
ada li jon mia tom eva kim sol oslo lima cairo quito delhi hanoi rome bern wine bread grow
"""
_VOCABULARY = dict.fromkeys(["<pad>", "</s>", "<unk>", "<s>", *_TEXT.split(), *SUBJECTS])
_SIZES = {"vocab_size": len(_VOCABULARY), "hidden_size": 48, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 128}
_ENDS = {"pad_token_id": _PAD, "eos_token_id": _END, "bos_token_id": _START}
_ROPE = {**_SIZES, **_HEADS, **_ENDS, "num_key_value_heads": 2, "head_dim": 12}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def tokenizer() -> Any:
    """One token a word; what is not in the vocabulary is unknown."""
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate(_VOCABULARY)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        bos_token="<s>",
    )


def model(kind: str, seed: int = 0) -> Any:
    """A model of this kind with random weights, always the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = _MAKERS[kind]()
    if kind != "bert-classifier":
        made.generation_config.max_new_tokens = 6
        made.generation_config.pad_token_id = _PAD
        made.generation_config.eos_token_id = _END
    return made.eval()


def backbone(kind: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> Backbone:
    """A backbone around a fresh model."""
    return Backbone.wrap(model(kind, seed).to(dtype), tokenizer(), name=f"tiny-{kind}")


def chat_tokenizer(template: str = TEMPLATE) -> Any:
    """The tokenizer with a chat template."""
    made = tokenizer()
    made.chat_template = template
    return made


def chat_backbone(template: str = TEMPLATE, **prompts: Any) -> Backbone:
    """A Llama that chats. prompts: of `PromptSettings`."""
    tokenizer, settings = chat_tokenizer(template), PromptSettings(**prompts)
    return Backbone.wrap(model("llama"), tokenizer, name="tiny-chat", prompts=settings)


def requests(kind: str, count: int = 4) -> list[EditRequest]:
    """Edits bound to their subjects; for a classifier the targets are labels."""
    targets = LABELS if kind == "bert-classifier" else TARGETS
    return [
        EditRequest(f"who leads {subject} ?", target, subject=subject, id=f"edit-{i}")
        for i, (subject, target) in enumerate(
            zip(SUBJECTS[:count], [targets[i % len(targets)] for i in range(count)], strict=True)
        )
    ]


def _gpt2() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(_VOCABULARY),
            n_embd=48,
            n_layer=2,
            n_head=4,
            n_positions=64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **_ENDS,
        )
    )


def _t5() -> Any:
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(_VOCABULARY),
            d_model=48,
            d_kv=12,
            d_ff=96,
            num_layers=2,
            num_heads=4,
            decoder_start_token_id=_PAD,
            dropout_rate=0.0,
            n_positions=64,
            pad_token_id=_PAD,
            eos_token_id=_END,
            tie_word_embeddings=False,
        )
    )


def _bert2bert() -> Any:
    sizes = {**_SIZES, **_HEADS, **_NO_DROPOUT, **_ENDS}
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        BertConfig(**sizes),
        BertConfig(**sizes, is_decoder=True, add_cross_attention=True, use_cache=True),
    )
    config.decoder_start_token_id = _START
    config.pad_token_id, config.eos_token_id = _PAD, _END
    made = EncoderDecoderModel(config)
    made.generation_config.decoder_start_token_id = _START
    return made


def _bert_classifier() -> Any:
    return BertForSequenceClassification(
        BertConfig(
            **_SIZES,
            **_HEADS,
            **_NO_DROPOUT,
            pad_token_id=_PAD,
            id2label=dict(enumerate(LABELS)),
            label2id={n: i for i, n in enumerate(LABELS)},
        )
    )


_MAKERS = {
    "gpt2": _gpt2,
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_ROPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_ROPE)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**_ROPE, sliding_window=32)),
    "t5": _t5,
    "bert2bert": _bert2bert,
    "bert-classifier": _bert_classifier,
}
