"""What is replayed is what would have been computed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melo_engine.blocks import GatheredBlocks
from melo_engine.frozen import FrozenPrefix
from melo_engine.runtime import Pass, Runtime
from melo_engine.surgery import projection_sizes
from melo_engine.training import Lesson, lesson_batch
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
    batch = lesson_batch(backbone, [Lesson(str(i), (t,), target) for i, t in enumerate(texts)])
    count = len(lengths)
    recorded = FrozenPrefix.record(
        backbone.model, runtime.targets, lambda: batch.forward(backbone), count
    )
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


def test_after_a_replay_the_model_runs_as_before(edited_t5) -> None:
    model = edited_t5.backbone.model
    batch = edited_t5.backbone.encode(edited_t5.asked)
    batch["decoder_input_ids"] = batch["input_ids"][:, :2]
    with torch.inference_mode():
        before = model(**batch).logits
        prefix = FrozenPrefix.record(
            model, edited_t5.editor.runtime.targets, lambda: model(**batch), len(edited_t5.asked)
        )
        with pytest.raises(RuntimeError, match="stop"), prefix.replay():
            raise RuntimeError("stop")
        assert torch.equal(model(**batch).logits, before)
    assert not any("forward" in vars(module) for module in model.modules())
