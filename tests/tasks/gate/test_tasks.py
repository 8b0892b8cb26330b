"""Decoder-only models and classifiers go through the same gate."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from melo_engine import Backbone, Editor, EditRequest
from tasks.gate import GateOptions, gate_candidate, suites_for
from tests.tasks.gate.conftest import SETTINGS, facts, tiny_tokenizer


def decoder_only() -> tuple[Backbone, list[EditRequest]]:
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=128,
                n_embd=48,
                n_layer=2,
                n_head=4,
                bos_token_id=1,
                eos_token_id=1,
                pad_token_id=0,
            )
        )
    model.generation_config.max_new_tokens = 6
    return Backbone.wrap(model, tokenizer), [request for request, _ in facts(12)]


def classifier() -> tuple[Backbone, list[EditRequest]]:
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=96,
                max_position_embeddings=64,
                id2label={0: "world", 1: "sport", 2: "business"},
                label2id={"world": 0, "sport": 1, "business": 2},
            )
        )
    backbone = Backbone.wrap(model, tokenizer)
    texts = ["sol mi re do", "fa la si ut do", "re re sol fa", "ut si la sol"]
    editor = Editor(backbone)
    labels = {"world": "sport", "sport": "business", "business": "world"}
    return backbone, [
        EditRequest(text, labels[answer.text])
        for text, answer in zip(texts, editor.answer(texts), strict=True)
    ]


@pytest.mark.parametrize("made", [decoder_only, classifier])
def test_an_edited_model_is_gated_by_the_index_as_in_full(made, cache, thresholds):
    backbone, requests = made()
    editor = Editor(backbone, settings=SETTINGS)
    champion = editor.edit(requests[: len(requests) // 2]).version
    candidate = editor.edit(requests[len(requests) // 2 :]).version
    assert len(candidate) == len(requests)
    # Random weights draw their samples at random, so consistency has nothing to say here.
    made_suites = suites_for(candidate, champion=champion)
    suites = [s for s in made_suites if s.purpose != "consistency"]
    results = [
        gate_candidate(
            editor,
            candidate,
            champion,
            suites=suites,
            cache=cache,
            options=GateOptions(thresholds, full=full),
        )
        for full in (False, False, True)
    ]
    said = [
        [(p.suite, p.prompt, p.after if p.edit else None, p.passed, p.edit) for p in r.probes]
        for r in results
    ]
    assert results[0].passed, results[0].reason
    assert results[2].passed, results[2].reason
    assert results[1].regenerated == 0
    assert said[0] == said[1] == said[2]
