"""What is replayed is what would have been computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melo_engine import Backbone
from melo_engine.blocks import GatheredBlocks
from melo_engine.frozen import FrozenPrefix
from melo_engine.runtime import Pass, Runtime
from melo_engine.surgery import Surgery, projection_sizes
from melo_engine.training_examples import TrainingExample, example_batch
from tests.melo_engine import models


@pytest.mark.parametrize("kind", models.KINDS)
@settings(max_examples=5, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_replay_equals_the_full_forward_pass(make_edited, kind, lengths, seed) -> None:
    backbone = make_edited(kind).backbone
    runtime: Runtime = make_edited(kind).editor.runtime
    target = (1,) if kind == "bert-classifier" else tuple(backbone.encode_target("ada li"))
    texts = [" ".join("who leads the river in oslo".split()[:n]) for n in lengths]
    batch = example_batch(
        backbone, [TrainingExample(str(i), (t,), target) for i, t in enumerate(texts)]
    )
    count = len(lengths)
    with torch.no_grad():
        recorded, logits = FrozenPrefix.record(
            backbone.model, runtime.targets, lambda: batch.forward(backbone), count
        )
        assert torch.equal(logits, batch.forward(backbone))
    generator = torch.Generator().manual_seed(seed)
    kept = torch.tensor(
        sorted(torch.randperm(count, generator=generator)[: max(1, count - 1)].tolist())
    )
    for rows, prefix in ((torch.arange(count), recorded), (kept, recorded.rows(kept))):
        _, part = batch.keep(rows)
        blocks = GatheredBlocks(
            torch.arange(len(rows)),
            len(rows),
            tuple(
                (
                    torch.randn(len(rows), size_in, 2, generator=generator),
                    torch.randn(len(rows), 2, size_out, generator=generator),
                )
                for size_in, size_out in map(projection_sizes, runtime.targets)
            ),
        )
        with torch.inference_mode(), runtime.running(Pass(blocks)):
            full = part.forward(backbone)
            with prefix.replay():
                replayed = part.forward(backbone)
        assert torch.allclose(replayed, full, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "layer", "block", "attention"),
    [
        ("t5", "decoder.block.{}", "layer.2.DenseReluDense.wi", "layer.1.EncDecAttention.k"),
        (
            "bert2bert",
            "decoder.bert.encoder.layer.{}",
            "intermediate.dense",
            "crossattention.self.value",
        ),
    ],
)
def test_what_upper_layers_make_of_the_encoder_is_computed_once(
    kind, layer, block, attention
) -> None:
    """It hangs on no block, though layers with blocks run before it."""
    targets = tuple(f"{layer.format(i)}.{block}" for i in range(2))
    backbone = Backbone.wrap(
        models.model(kind), models.tokenizer(), surgery=Surgery("encoder", targets)
    )
    runtime = backbone.runtime
    batch = backbone.encode(["who leads velandor ?", "wine and bread"])
    batch["decoder_input_ids"] = batch["input_ids"][:, :3]
    sizes = [projection_sizes(target) for target in runtime.targets]
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (torch.randn(2, i, 2, generator=generator), torch.randn(2, 2, o, generator=generator))
        for i, o in sizes
    ]
    silent = Pass(GatheredBlocks(torch.arange(2), 2, tuple((a, 0 * b) for a, b in pairs)))
    loud = Pass(GatheredBlocks(torch.arange(2), 2, tuple(pairs)))
    seen: list[int] = []
    with torch.no_grad():
        with runtime.running(silent):
            prefix, logits = FrozenPrefix.record(
                backbone.model, runtime.targets, lambda: backbone.model(**batch).logits, 2
            )
        assert torch.equal(logits, backbone.model(**batch).logits)
        with runtime.running(loud):
            full = backbone.model(**batch).logits
            watched = backbone.model.get_submodule(f"{layer.format(1)}.{attention}")
            handle = watched.register_forward_pre_hook(lambda *_: seen.append(1))
            weight, watched.weight.data = watched.weight.data, torch.full((), torch.nan)
            with prefix.replay():
                replayed = backbone.model(**batch).logits
    assert seen == [1]  # its hooks run, its product is not computed again
    assert torch.allclose(replayed, full, atol=1e-5)
    assert not torch.allclose(full, logits, atol=1e-2)
    handle.remove()
    watched.weight.data = weight
    runtime.close()


def test_after_a_replay_the_model_runs_as_before(edited_t5) -> None:
    model = edited_t5.backbone.model
    batch = edited_t5.backbone.encode(edited_t5.asked)
    batch["decoder_input_ids"] = batch["input_ids"][:, :2]
    with torch.inference_mode():
        before = model(**batch).logits
        prefix, _ = FrozenPrefix.record(
            model, edited_t5.editor.runtime.targets, lambda: model(**batch), len(edited_t5.asked)
        )
        with pytest.raises(RuntimeError, match="stop"), prefix.replay():
            raise RuntimeError("stop")
        assert torch.equal(model(**batch).logits, before)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_module_in_training_is_run_anew_and_gets_its_gradient(kind: str) -> None:
    backbone = models.backbone(kind)
    target = tuple(backbone.encode_target("ada li"))
    batch = example_batch(backbone, [TrainingExample("0", ("who leads the river ?",), target)])
    backbone.model.requires_grad_(False)
    trained = backbone.model.get_submodule(backbone.surgery.targets[-1])
    trained.weight.requires_grad_()
    with torch.no_grad():
        recorded, _ = FrozenPrefix.record(
            backbone.model, [trained], lambda: batch.forward(backbone), 1
        )
        trained.weight.mul_(1.5)
    full = batch.forward(backbone)
    with recorded.without([trained]).replay():
        replayed = batch.forward(backbone)
    assert torch.allclose(replayed, full, atol=1e-5)
    [expected] = torch.autograd.grad(full.sum(), [trained.weight])
    [found] = torch.autograd.grad(replayed.sum(), [trained.weight])
    assert torch.allclose(found, expected, atol=1e-4)
