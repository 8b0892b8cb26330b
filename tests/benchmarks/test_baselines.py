"""Each baseline does what its paper says, weaknesses included, on a tiny model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from benchmarks.baselines import (
    BASELINES,
    METHODS,
    Asked,
    Melo,
    Method,
    Oracle,
    chosen_methods,
    refuse_unfit,
)
from benchmarks.baselines.grace import Codebook, Grace, GraceSettings
from benchmarks.baselines.layers import grace_layer
from benchmarks.baselines.paper import Paper
from benchmarks.baselines.retrieval import Retrieval, RetrievalSettings
from benchmarks.baselines.tuning import (
    LocalizedFineTuning,
    LocalizedSettings,
    SharedLora,
    TuningSettings,
)
from benchmarks.baselines.ultraedit import (
    RunningStatistics,
    UltraEdit,
    UltraEditSettings,
    ridge,
)
from benchmarks.errors import UnknownMethod
from melo_engine import Backbone, Editor, EditRequest
from melo_engine.paper import PaperSettings
from tests.melo_engine import models

torch.set_num_threads(1)
ADA, JON = (1, 2), (3, 4)
OTHERS = ["what is the capital city of north oslo ?", "wine and bread", "who leads ostovic ?"]


@pytest.fixture(scope="module")
def gpt2() -> Backbone:
    return models.backbone("gpt2")


@pytest.fixture(scope="module")
def t5() -> Backbone:
    return models.backbone("t5")


def prompts_of(kind: str, count: int = 4) -> Asked:
    return Asked.of([r.prompt for r in models.requests(kind, count)])


def one_word(kind: str, count: int) -> list[EditRequest]:
    """Edits whose targets are one token: one value at one layer of a random model writes no more."""
    made = models.requests(kind, count)
    words = models.LABELS if kind == "bert-classifier" else ("jon", "tom", "sol", "oslo")
    return [replace(r, target=word) for r, word in zip(made, words, strict=False)]


def targets_of(kind: str, count: int = 4) -> list[str]:
    return [r.target for r in models.requests(kind, count)]


# GRACE, section 3: keys, values and deferral radii


@pytest.fixture
def codebook() -> Codebook:
    return Codebook(1, 1, 1.0, torch.device("cpu"))


def at(value: float) -> torch.Tensor:
    return torch.tensor([float(value)])


def test_a_far_key_is_new_and_has_the_initial_radius(codebook: Codebook) -> None:
    assert codebook.place(at(0), ADA, at(7)) == 0
    assert codebook.place(at(2.5), JON, at(8)) == 1
    assert codebook.radii.tolist() == [1.0, 1.0]
    assert codebook.find(torch.tensor([[0.9], [1.2], [1.6]])).tolist() == [0, -1, 1]


def test_a_near_key_of_the_same_answer_enlarges_the_radius(codebook: Codebook) -> None:
    codebook.place(at(0), ADA, at(7))
    assert codebook.place(at(1.5), ADA, at(8)) == 0
    assert codebook.radii.tolist() == [1.5]
    assert len(codebook.keys) == 1


def test_a_near_key_of_another_answer_halves_both_radii(codebook: Codebook) -> None:
    codebook.place(at(0), ADA, at(7))
    assert codebook.place(at(1), JON, at(8)) == 1
    assert codebook.radii.tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert codebook.find(torch.tensor([[0.4], [0.6]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("t5", "encoder.block.0.layer.1.DenseReluDense.wo"),
        ("gpt2", "transformer.h.0.mlp.c_proj"),
        ("llama", "model.layers.0.mlp.down_proj"),
        ("bert-classifier", "bert.encoder.layer.0.output.dense"),
    ],
)
def test_grace_edits_an_output_projection_below_the_top(kind: str, layer: str) -> None:
    assert grace_layer(models.backbone(kind)) == layer


@pytest.mark.parametrize("kind", ["gpt2", "bert-classifier"])
def test_grace_answers_its_edits_and_leaves_what_is_far_alone(kind: str) -> None:
    backbone = models.backbone(kind)
    before = Method(backbone).answer(Asked.of(OTHERS))
    weights = backbone.weights_hash
    grace = Grace(backbone, GraceSettings(initial=0.05, steps=60))
    requests = one_word(kind, 3)
    grace.edit(requests)
    # Random layers above one value can say its word; whether they stop after it is not its doing.
    assert [a.split()[:1] for a in grace.answer(prompts_of(kind, 3))] == [
        [r.target] for r in requests
    ]
    assert grace.answer(Asked.of(OTHERS)) == before
    grace.close()
    backbone.__dict__.pop("weights_hash")
    assert backbone.weights_hash == weights


def test_grace_replaces_the_prompts_positions_by_the_value(gpt2: Backbone) -> None:
    grace = Grace(gpt2, GraceSettings(initial=0.05, steps=3))
    [request] = models.requests("gpt2", 1)
    grace.edit([request])
    seen: list[torch.Tensor] = []
    module = gpt2.model.get_submodule(grace.layer)
    handle = module.register_forward_hook(lambda m, i, output: seen.append(output))
    encoded = gpt2.encode([request.prompt, "wine and bread ?"])
    mask = encoded["attention_mask"].bool()
    with torch.no_grad(), grace.acting(Asked.of([request.prompt, ""]), mask):
        gpt2.model(**encoded)
    handle.remove()
    [output] = seen
    replaced = (output == grace.codebook.values[0]).all(-1)  # (2, T)
    assert replaced.tolist() == [mask[0].tolist(), [False] * mask.shape[1]]
    grace.close()


def test_grace_leaves_out_what_the_model_gets_right(gpt2: Backbone) -> None:
    [request] = models.requests("gpt2", 1)
    grace = Grace(gpt2, GraceSettings(initial=0.05, steps=60))
    grace.edit([request])
    grace.edit([request])
    assert len(grace.codebook.keys) == 1
    grace.close()


def test_graces_key_does_not_depend_on_the_batch(gpt2: Backbone) -> None:
    grace = Grace(gpt2, GraceSettings(initial=0.05, steps=60))
    long = "what is the capital city of north oslo and which river does it lie in now ?"
    first, second = one_word("gpt2", 2)
    grace.edit([first, second])
    alone = grace.answer(Asked.of([first.prompt]))
    assert alone[0].startswith(first.target)
    assert grace.answer(Asked.of([first.prompt, long]))[0] == alone[0]
    grace.close()


# LoRA in sequence


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert-classifier"])
def test_a_fresh_lora_changes_nothing(kind: str) -> None:
    backbone = models.backbone(kind)
    lora = SharedLora(backbone)
    everything = Asked.of([*OTHERS, *prompts_of(kind).prompts])
    assert lora.answer(everything) == Method(backbone).answer(everything)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert-classifier"])
def test_lora_learns_an_edit_on_a_copy(kind: str) -> None:
    backbone = models.backbone(kind)
    weights = backbone.weights_hash
    lora = SharedLora(backbone, TuningSettings(5e-3, steps=200))
    lora.edit(models.requests(kind, 1))  # one pair in a random model holds little more
    assert lora.answer(prompts_of(kind, 1)) == targets_of(kind, 1)
    backbone.__dict__.pop("weights_hash")
    assert backbone.weights_hash == weights


def test_lora_trains_one_pair_for_all_jobs_and_nothing_else(t5: Backbone) -> None:
    lora = SharedLora(t5, TuningSettings(2e-2, batch=2, steps=10, rank=3))
    frozen = {n: p.clone() for n, p in lora.backbone.model.named_parameters() if "lora_" not in n}
    pairs = list(lora.parameters)
    assert len(pairs) == 2 * len(t5.surgery.targets)
    assert all(3 in p.shape for p in pairs)
    assert all(not p.any() for p in pairs[1::2])  # B starts at zero
    lora.edit(models.requests("t5"))
    assert lora.parameters == pairs
    assert all(p.any() for p in pairs)
    after = dict(lora.backbone.model.named_parameters())
    assert all(torch.equal(p, after[n]) for n, p in frozen.items())


def test_lora_stops_where_the_target_leads_already(gpt2: Backbone) -> None:
    tuned = SharedLora(gpt2, TuningSettings(5e-3, steps=200))
    tuned.edit(models.requests("gpt2", 1))
    before = [p.clone() for p in tuned.parameters]
    tuned.edit(models.requests("gpt2", 1))
    assert all(torch.equal(a, b) for a, b in zip(before, tuned.parameters, strict=True))


def test_nothing_protects_what_lora_learned_before(gpt2: Backbone) -> None:
    tuned = SharedLora(gpt2, TuningSettings(5e-3, batch=1, steps=200))
    requests = models.requests("gpt2", 4)
    tuned.edit(requests)
    answers = tuned.answer(prompts_of("gpt2"))
    assert answers[-1] == requests[-1].target
    assert answers[:-1] != targets_of("gpt2")[:-1]


# Localized, breadth-first fine-tuning

QUICK = LocalizedSettings(5e-3, batch=2, epochs=150)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bert-classifier"])
def test_fine_tuning_moves_one_matrix_of_a_copy(kind: str) -> None:
    backbone = models.backbone(kind)
    weights = backbone.weights_hash
    tuned = LocalizedFineTuning(backbone, QUICK)
    tuned.edit(models.requests(kind))
    before = dict(backbone.model.named_parameters())
    moved = [n for n, p in tuned.backbone.model.named_parameters() if not torch.equal(p, before[n])]
    assert moved == [f"{tuned.module}.weight"]
    backbone.__dict__.pop("weights_hash")
    assert backbone.weights_hash == weights


def test_breadth_first_holds_the_first_edit_and_the_last(gpt2: Backbone) -> None:
    """The same steps on one edit at a time, each to its end before the next, lose the first ones."""
    tuned = LocalizedFineTuning(gpt2, QUICK)
    assert tuned.job >= 10**9
    tuned.edit(models.requests("gpt2"))
    assert tuned.answer(prompts_of("gpt2")) == targets_of("gpt2")
    sequential = LocalizedFineTuning(gpt2, QUICK)
    for request in models.requests("gpt2"):
        sequential.edit([request])
    assert sequential.answer(prompts_of("gpt2")) != targets_of("gpt2")


def test_fine_tuning_ends_where_the_loss_is_small(gpt2: Backbone) -> None:
    tuned = LocalizedFineTuning(gpt2, replace(QUICK, enough=100.0))
    before = tuned.weight.clone()
    tuned.edit(models.requests("gpt2"))
    assert torch.equal(tuned.weight, before)


# UltraEdit


def test_statistics_of_batches_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    features = 3 + 2 * torch.randn(50, 4, generator=generator)
    statistics = RunningStatistics(4, torch.device("cpu"))
    for part in features.split([7, 1, 42]):
        statistics.update(part)
    wanted = (features - features.mean(0)) / features.std(0)
    assert torch.allclose(statistics.normalized(features), wanted, atol=1e-4)


def test_the_shift_is_the_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 4, generator=generator)
    outputs = torch.randn(6, 3, generator=generator)
    shift = ridge(inputs, outputs)
    slope = inputs.T @ (inputs @ shift - outputs) + shift  # of half the penalized squares
    assert torch.allclose(slope, torch.zeros(4, 3), atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_ultraedit_shifts_its_modules_towards_the_targets(kind: str) -> None:
    backbone = models.backbone(kind)
    weights = backbone.weights_hash
    requests = models.requests(kind)
    edited = UltraEdit(backbone, UltraEditSettings(1e-4, low=0.0, high=1.0))
    asked = prompts_of(kind)
    before = sum(x.nats for x in edited.losses(asked, targets_of(kind)))
    edited.edit(requests)
    assert sum(x.nats for x in edited.losses(asked, targets_of(kind))) < before
    own = dict(backbone.model.named_parameters())
    after = edited.backbone.model.named_parameters()
    moved = {n for n, p in after if not torch.equal(p, own[n])}
    assert moved == {f"{name}.weight" for name in edited.modules}
    backbone.__dict__.pop("weights_hash")
    assert backbone.weights_hash == weights


# The edit in the prompt


def test_retrieval_puts_the_nearest_fact_before_the_prompt(gpt2: Backbone) -> None:
    retrieval = Retrieval(gpt2)
    requests = models.requests("gpt2")
    retrieval.edit(requests)
    asked = retrieval.asks(Asked.of([requests[2].prompt]))
    fact = f"New fact: {requests[2].prompt} {requests[2].target}\n"
    assert asked.prompts == (fact + requests[2].prompt,)
    retrieval.close()


def test_more_facts_stand_before_the_prompt_the_nearest_last(gpt2: Backbone) -> None:
    retrieval = Retrieval(gpt2, RetrievalSettings(facts=3))
    requests = models.requests("gpt2")
    retrieval.edit(requests)
    [prompt] = retrieval.asks(Asked.of([requests[2].prompt])).prompts
    assert str(prompt).count("New fact:") == 3
    nearest = f"New fact: {requests[2].prompt} {requests[2].target}\n"
    assert str(prompt).endswith(nearest + requests[2].prompt)
    assert retrieval.added_tokens([requests[2].prompt]) > 3 * 4
    assert Method(gpt2).added_tokens([requests[2].prompt]) == 0
    retrieval.close()


def test_retrieval_asks_a_prompt_as_it_stands_where_the_fact_does_not_fit(gpt2: Backbone) -> None:
    retrieval = Retrieval(gpt2)
    retrieval.edit(models.requests("gpt2"))
    long = "wine " * (gpt2.max_prompt_tokens - 2)
    assert retrieval.asks(Asked.of([long])).prompts == (long,)
    retrieval.close()


def test_retrieval_needs_one_stack(t5: Backbone, gpt2: Backbone) -> None:
    with pytest.raises(UnknownMethod, match="needs a causal-lm"):
        refuse_unfit(("paper", "retrieval-5"), t5)
    refuse_unfit(METHODS, gpt2)


# Bounds, and the two MELOs


@pytest.fixture(scope="module")
def melo(t5: Backbone) -> Iterator[Melo]:
    method = Melo(t5, settings=models.SETTINGS)
    method.edit(models.requests("t5"))
    yield method
    method.close()


def test_melo_and_the_oracle_answer_the_edits(melo: Melo) -> None:
    ids = [r.id for r in models.requests("t5")]
    assert melo.answer(prompts_of("t5")) == targets_of("t5")
    asked = Asked.of(prompts_of("t5").prompts, ids)
    assert Oracle(melo).answer(asked) == targets_of("t5")


def test_the_oracle_goes_by_the_owner_alone(melo: Melo, t5: Backbone) -> None:
    requests = models.requests("t5")
    asked = Asked.of([requests[0].prompt, requests[1].prompt], [None, requests[1].id])
    bare = Method(t5).answer(prompts_of("t5"))
    assert Oracle(melo).answer(asked) == [bare[0], requests[1].target]


def test_the_bare_backbone_is_what_the_engine_calls_base(t5: Backbone) -> None:
    asked = Asked.of([*OTHERS, *prompts_of("t5").prompts])
    base = Editor(t5).answer(asked.prompts, base=True)
    assert Method(t5).answer(asked) == [a.text for a in base]


@pytest.mark.parametrize("kind", ["t5", "bert-classifier"])
def test_the_papers_editor_answers_in_its_own_batch(kind: str) -> None:
    backbone = models.backbone(kind)
    batch = 2 if backbone.generates else 1  # a block for both can't tell two labels apart here
    paper = Paper(backbone, PaperSettings(initial_radius=0.5, steps=200, batch=batch, rank=4))
    paper.edit(models.requests(kind, 2))
    assert paper.answer(prompts_of(kind, 2)) == targets_of(kind, 2)
    paper.close()


def test_the_papers_editor_works_in_bf16() -> None:
    backbone = models.backbone("gpt2", torch.bfloat16)
    paper = Paper(backbone, PaperSettings(initial_radius=50.0, steps=200, batch=1, rank=4))
    paper.edit(models.requests("gpt2", 1))
    assert paper.answer(prompts_of("gpt2", 1)) == targets_of("gpt2", 1)
    paper.close()


# Losses


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_loss_is_the_sum_over_the_continuations_own_tokens(kind: str) -> None:
    backbone = models.backbone(kind)
    prompts, texts = ["who leads velandor ?", "wine"], ["mia of oslo", "jon"]
    losses = Method(backbone).losses(Asked.of(prompts), texts)
    assert [x.tokens for x in losses] == [4, 2]  # with the end token
    without = Method(backbone).losses(Asked.of(prompts), texts, end=False)
    assert [x.tokens for x in without] == [3, 1]
    assert all(a.nats > b.nats for a, b in zip(losses, without, strict=True))
    alone = Method(backbone).losses(Asked.of(prompts[:1]), texts[:1])
    assert alone[0].nats == pytest.approx(losses[0].nats, rel=1e-4)


def test_every_edited_model_is_surer_of_its_target(gpt2: Backbone) -> None:
    requests = models.requests("gpt2", 2)
    asked = Asked.of([r.prompt for r in requests], [r.id for r in requests])
    targets = [r.target for r in requests]
    before = [x.nats for x in Method(gpt2).losses(asked, targets)]
    melo = Melo(gpt2, settings=models.SETTINGS)
    methods = [
        melo,
        Oracle(melo),
        Grace(gpt2, GraceSettings(initial=0.05, steps=40)),
        Paper(gpt2, PaperSettings(initial_radius=0.5, steps=40)),
        SharedLora(gpt2, TuningSettings(2e-2)),
        LocalizedFineTuning(gpt2, QUICK),
    ]
    for method in methods:
        method.edit(requests)
        for loss, first in zip(method.losses(asked, targets), before, strict=True):
            assert math.isfinite(loss.nats)
            assert loss.nats < first, method.name
    for method in methods:
        method.close()


# Names


def test_all_methods_can_be_asked_for_at_once() -> None:
    assert chosen_methods(["all"]) == METHODS


def test_the_oracle_brings_melo_along() -> None:
    assert chosen_methods(["none", "oracle"]) == ("melo", "oracle", "none")


@pytest.mark.parametrize("names", [["rome"], []])
def test_another_method_is_refused_by_name(names: list[str]) -> None:
    with pytest.raises(UnknownMethod, match="allowed: melo, oracle"):
        chosen_methods(names)


def test_each_method_has_the_name_it_is_chosen_by(gpt2: Backbone) -> None:
    for name, build in BASELINES.items():
        method = build(gpt2, 0)
        assert method.name == name
        method.close()
