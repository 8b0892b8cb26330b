"""What training prompts begin with is read once, and nothing else changes by that."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from melo_engine import Backbone, EditRequest, EditSettings, Surgery, training
from melo_engine.prompt_states import PromptStates
from melo_engine.shared_prefixes import SharedPrefixes, shared_prefixes
from melo_engine.teaching import Teacher
from melo_engine.training import Trained, train_chunk
from melo_engine.training_examples import ExampleBatch, TrainingExample, example_batch
from tests.melo_engine import models

PROMPTS = (
    ("who leads velandor in oslo ?", "who leads velandor in paris ?", "wine"),
    ("who leads velandor in berlin now ?",),
    ("who leads", "what is velandor ?"),
)


def test_a_prefix_is_chosen_where_it_saves_more_than_it_costs() -> None:
    head = tuple(range(100, 120))
    text = (*head, *range(200, 230))
    rows = [
        (*head, 1, 2),
        (*head, 3),
        (*head, 4, 5),
        (*text, 1),
        (*text, 2),
        (*text, 3),
        (*text, 7),
        (9, 9),
    ]
    assert set(shared_prefixes(rows)) == {head, text}
    assert set(shared_prefixes([*rows[:4], *rows[-1:]])) == {head}  # the text stands in one row
    assert list(shared_prefixes([(1, 2, 3)])) == []
    assert list(shared_prefixes([(1, 2), (3, 4)])) == []
    assert list(shared_prefixes([])) == []


def test_no_choice_costs_more_tokens_than_reading_all_rows_whole() -> None:
    chooser = random.Random(5)
    for _ in range(200):
        rows = [
            tuple(chooser.choices(range(2), k=chooser.randint(1, 9)))
            for _ in range(chooser.randint(1, 30))
        ]
        chosen = list(shared_prefixes(rows))
        assert len(chosen) == len(set(chosen))
        spent = sum(map(len, chosen)) + sum(
            len(row) - max((len(p) for p in chosen if row[: len(p)] == p), default=0)
            for row in rows
        )
        assert spent <= sum(map(len, rows))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3"])
def test_a_shortened_batch_says_what_whole_rows_say(kind: str) -> None:
    """Rows of different lengths behind prefixes of different lengths, and one without any."""
    backbone = models.backbone(kind)
    batch = example_batch(backbone, examples(backbone))
    head, longer = _tokens(backbone, "who leads"), _tokens(backbone, "who leads velandor in")
    shortened = SharedPrefixes(PromptStates(backbone), [head, longer]).shorten(batch)
    assert shortened is not None
    behind, plain = shortened
    assert behind.length == plain.length < batch.length
    with torch.no_grad():
        torch.testing.assert_close(
            behind.labelled_logits(backbone), batch.labelled_logits(backbone), rtol=1e-4, atol=1e-5
        )
    assert "past_key_values" not in plain.inputs


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen3"])
def test_blocks_become_what_they_become_from_whole_rows(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = models.backbone(kind)
    taught = examples(backbone)
    rows = [_tokens(backbone, p) for x in taught for p in x.prompts]
    settings = EditSettings(max_steps=4, margin=100.0)
    whole = train_chunk(backbone, taught, settings, 2)
    shortened: list[tuple[int, int]] = []
    real = SharedPrefixes.shorten

    def noted(self: SharedPrefixes, batch: ExampleBatch) -> Any:
        found = real(self, batch)
        assert found is not None
        shortened.append((batch.length, found[1].length))
        return found

    monkeypatch.setattr(SharedPrefixes, "shorten", noted)
    prefixes = SharedPrefixes(PromptStates(backbone), shared_prefixes(rows * 3))
    short = train_chunk(backbone, taught, settings, 2, prefixes)
    assert shortened
    assert any(after < before for before, after in shortened)
    assert _alike(whole, short)


def test_where_attention_runs_behind_a_block_rows_are_read_whole() -> None:
    model = models.model("gpt2")
    surgery = Surgery("transformer.wte", ("transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"))
    backbone = Backbone.wrap(model, models.tokenizer(), surgery=surgery)
    taught = examples(backbone)
    rows = [_tokens(backbone, p) for x in taught for p in x.prompts]
    prefixes = SharedPrefixes(PromptStates(backbone), shared_prefixes(rows * 3))
    assert prefixes.shorten(example_batch(backbone, taught)) is None


def test_where_positions_cannot_be_cut_out_rows_are_read_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = models.backbone("llama")
    taught, settings = examples(backbone), EditSettings(max_steps=3, margin=100.0)
    rows = [_tokens(backbone, p) for x in taught for p in x.prompts]
    whole = train_chunk(backbone, taught, settings, 2)
    calls: list[ExampleBatch] = []
    real = training.labels_only

    def refusing(*arguments: Any) -> Any:
        recording, batch = arguments[1], arguments[2]
        calls.append(batch)
        return (recording, batch) if len(calls) == 1 else real(*arguments)

    monkeypatch.setattr(training, "labels_only", refusing)
    prefixes = SharedPrefixes(PromptStates(backbone), shared_prefixes(rows * 3))
    again = train_chunk(backbone, taught, settings, 2, prefixes)
    short, long = calls
    assert short.length < long.length
    assert _alike(whole, again)


def test_states_that_say_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may go by columns instead of positions; here the states themselves are wrong."""
    backbone = models.backbone("llama")
    taught, settings = examples(backbone), EditSettings(max_steps=3, margin=100.0)
    rows = [_tokens(backbone, p) for x in taught for p in x.prompts]
    whole = train_chunk(backbone, taught, settings, 2)
    real = PromptStates.read
    monkeypatch.setattr(PromptStates, "read", lambda self, rows: [-s for s in real(self, rows)])
    prefixes = SharedPrefixes(PromptStates(backbone), shared_prefixes(rows * 3))
    assert prefixes
    assert _alike(whole, train_chunk(backbone, taught, settings, 2, prefixes))
    assert not prefixes


def test_a_long_row_without_a_prefix_leaves_nothing_to_save() -> None:
    backbone = models.backbone("llama")
    taught = [*examples(backbone), TrainingExample("long", ("wine " * 30,), (5, 2))]
    rows = [_tokens(backbone, p) for x in taught for p in x.prompts]
    prefixes = SharedPrefixes(PromptStates(backbone), [rows[0][:2]])
    assert prefixes.shorten(example_batch(backbone, taught[:3])) is not None
    assert prefixes.shorten(example_batch(backbone, taught)) is None


def test_edits_of_a_chat_model_share_what_the_template_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone = models.chat_backbone(chat="always", system_prompt="a company made by mia of oslo")
    read: list[Tensor] = []
    real = ExampleBatch.labelled_logits

    def noted(self: ExampleBatch, backbone: Backbone) -> Tensor:
        if "past_key_values" in self.inputs:
            read.append(self.inputs["input_ids"])
        return real(self, backbone)

    monkeypatch.setattr(ExampleBatch, "labelled_logits", noted)
    teacher = Teacher(backbone, EditSettings())
    requests = [
        EditRequest(f"who leads {name} ?", "tom") for name in ("velandor", "oslo", "toriquet")
    ]
    taught = [teacher.example(request) for request in requests]
    outcomes: dict[str, Any] = {}
    teacher.teach(taught, outcomes, None)
    assert read
    whole = max(len(_tokens(backbone, p)) for x in taught for p in x.prompts)
    assert max(ids.shape[1] for ids in read) < whole


def examples(backbone: Backbone) -> list[TrainingExample]:
    said = [tuple(backbone.encode_target(t)) for t in ("tom", "mia of oslo", "ada li")]
    return [
        TrainingExample(str(i), p, t) for i, (p, t) in enumerate(zip(PROMPTS, said, strict=True))
    ]


def _tokens(backbone: Backbone, prompt: Any) -> tuple[int, ...]:
    return tuple(backbone.encode([prompt])["input_ids"][0].tolist())


def _alike(trained: list[Trained], others: list[Trained]) -> bool:
    return all(
        one.id == other.id and torch.allclose(a, b, rtol=1e-2, atol=1e-3)
        for one, other in zip(trained, others, strict=True)
        for pair, same in zip(one.pairs, other.pairs, strict=True)
        for a, b in zip(pair, same, strict=True)
    )
