"""What is left out of a batch changes nothing of what is left in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from melo_engine import Backbone, Editor, EditRequest
from melo_engine.frozen import FrozenPrefix
from melo_engine.runtime import Pass, Runtime
from melo_engine.surgery import Surgery, projection_sizes
from melo_engine.training_examples import ExampleBatch, TrainingExample, example_batch, labels_only
from tests.melo_engine import models

PROMPTS = (
    ("who leads velandor ?", "where is velandor ?"),
    ("wine and bread",),
    ("who leads toriquet in oslo ?", "toriquet", "who leads the river ?"),
)


@pytest.mark.parametrize("kind", models.KINDS)
def test_positions_alone_say_what_they_say_in_their_sequence(make_edited, kind) -> None:
    """With blocks, with examples of different numbers of prompts, and after some have left."""
    backbone, runtime = make_edited(kind).backbone, make_edited(kind).editor.runtime
    batch = example_batch(backbone, _examples(backbone))
    prefix, logits = _recorded(backbone, runtime, batch)
    recording, cut = labels_only(backbone, prefix, batch, logits)
    assert recording.apart
    assert cut is not batch
    assert cut.length == 1
    assert len(cut.owner) == int(batch.labelled.sum())
    pairs = _pairs(runtime, len(PROMPTS))
    for examples in (torch.arange(len(PROMPTS)), torch.tensor([0, 2])):
        _, whole = batch.keep(examples)
        rows, part = cut.keep(examples)
        some = [(a[examples], b[examples]) for a, b in pairs]
        with torch.no_grad():
            with runtime.running(Pass(whole.blocks(some, torch.float32))):
                expected = whole.labelled_logits(backbone)
            blocks = part.blocks(some, torch.float32)
            with runtime.running(Pass(blocks)), recording.rows(rows).replay():
                found = part.labelled_logits(backbone)
        assert torch.allclose(found, expected, atol=1e-4)
        assert torch.equal(part.label_owner, whole.label_owner)
        assert not torch.allclose(found, logits[torch.isin(cut.owner, examples)], atol=1e-2)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("gpt2", "transformer.h.{}.mlp.c_fc"),
        ("t5", "decoder.block.{}.layer.2.DenseReluDense.wi"),
        ("bert-classifier", "bert.encoder.layer.{}.intermediate.dense"),
    ],
)
def test_positions_that_see_others_stay_together(kind, target) -> None:
    """Attention runs above the first of two layers with blocks."""
    model = models.model(kind)
    key = "encoder" if kind == "t5" else next(n for n, _ in model.named_modules() if n)
    surgery = Surgery(key, (target.format(0), target.format(1)))
    backbone = Backbone.wrap(model, models.tokenizer(), surgery=surgery)
    runtime = backbone.runtime
    batch = example_batch(backbone, _examples(backbone))
    prefix, logits = _recorded(backbone, runtime, batch)
    assert not prefix.apart
    assert labels_only(backbone, prefix, batch, logits) == (prefix, batch)
    runtime.close()


class _Mean(nn.Module):
    """A pooler that reads every position."""

    def forward(self, states: Tensor) -> Tensor:
        return states.mean(1)


def test_a_classifier_that_reads_every_position_keeps_them() -> None:
    model = models.model("bert-classifier")
    model.bert.pooler = _Mean()
    backbone = Backbone.wrap(model, models.tokenizer())
    editor = Editor(backbone, settings=models.SETTINGS)
    batch = example_batch(backbone, _examples(backbone))
    prefix, logits = _recorded(backbone, editor.runtime, batch)
    assert prefix.apart
    assert labels_only(backbone, prefix, batch, logits)[1] is batch
    prompt = "who leads velandor ?"
    before = editor.answer([prompt])[0].text
    target = next(label for label in models.LABELS if label != before)
    editor.edit([EditRequest(prompt, target, "velandor")])
    assert editor.answer([prompt])[0].text == target


def test_a_target_that_ends_too_early_is_found_out() -> None:
    """It leads at each of its tokens, but generation ends at the first."""
    model = models.model("gpt2")
    tokens = models.tokenizer()
    end, tom = model.generation_config.eos_token_id, tokens.convert_tokens_to_ids("tom")
    model.generation_config.eos_token_id = [end, tom]
    editor = Editor(Backbone.wrap(model, tokens), settings=models.SETTINGS)
    (outcome,) = editor.edit([EditRequest("who leads velandor ?", "tom jon", "velandor")]).outcomes
    assert outcome.status == "failed"
    assert 'decodes to "tom"' in outcome.reason


def test_a_target_that_the_generation_config_forbids_is_found_out() -> None:
    """It leads at each of its tokens, but greedy decoding is not all that is asked for."""
    model = models.model("gpt2")
    backbone = Backbone.wrap(model, models.tokenizer())
    request = EditRequest("who leads velandor ?", "tom jon tom jon", "velandor")
    free = Editor(backbone, settings=models.SETTINGS)
    assert free.edit([request]).outcomes[0].status == "trained"
    model.generation_config.no_repeat_ngram_size = 2
    bound = Editor(backbone, settings=models.SETTINGS)
    (outcome,) = bound.edit([request]).outcomes
    assert outcome.status == "failed"
    assert "decodes to" in outcome.reason


def _examples(backbone: Backbone) -> list[TrainingExample]:
    if backbone.generates:
        said = [tuple(backbone.encode_target(t)) for t in ("tom", "mia of oslo", "ada li")]
    else:
        said = [(1,), (0,), (2,)]
    return [
        TrainingExample(str(i), p, t) for i, (p, t) in enumerate(zip(PROMPTS, said, strict=True))
    ]


def _recorded(
    backbone: Backbone, runtime: Runtime, batch: ExampleBatch
) -> tuple[FrozenPrefix, Tensor]:
    with torch.no_grad():
        return FrozenPrefix.record(
            backbone.model,
            runtime.targets,
            lambda: batch.labelled_logits(backbone),
            len(batch.owner),
        )


def _pairs(runtime: Runtime, count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(count, size_in, 2, generator=generator),
            torch.randn(count, 2, size_out, generator=generator),
        )
        for size_in, size_out in map(projection_sizes, runtime.targets)
    ]
