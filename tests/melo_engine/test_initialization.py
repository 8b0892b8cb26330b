"""Where training begins."""

from __future__ import annotations

import pytest
import torch

from melo_engine import EditSettings
from melo_engine.initialization import first_pairs
from melo_engine.training_examples import TrainingExample

SETTINGS = EditSettings(weight_scale=4.0)
EXAMPLES = [TrainingExample(name, ("?",), (1,)) for name in ("a", "b", "c")]


def test_codes_are_the_principal_ones_evened_out() -> None:
    """Singular values of the codes are the roots of the inputs', the first of the size asked for."""
    x, owner = _inputs((7, 2, 5))
    a, b = first_pairs(x, owner, (16, 6), EXAMPLES, 3, SETTINGS)
    assert a.shape == (3, 16, 3)
    assert b.shape == (3, 3, 6)
    assert not b.any()
    for i, count in enumerate((7, 2, 5)):
        own = x[owner == i]
        sizes = torch.linalg.svdvals(own)[:3]
        codes = own @ a[i]
        along = codes.T @ codes
        k = min(count, 3)
        expected = 4.0 * count**0.5 * (sizes / sizes[0]).sqrt()
        assert torch.allclose(along.diagonal()[:k].sqrt(), expected[:k], rtol=1e-4)
        assert (along[:k, :k] - along[:k, :k].diagonal().diag()).abs().max() < 1e-3


def test_a_start_hangs_on_its_own_example_and_on_no_scale() -> None:
    x, owner = _inputs((4, 3, 6))
    a, _ = first_pairs(x, owner, (16, 6), EXAMPLES, 3, SETTINGS)
    own = x[owner == 1]
    alone, _ = first_pairs(
        own, torch.zeros(3, dtype=torch.int64), (16, 6), EXAMPLES[1:2], 3, SETTINGS
    )
    larger, _ = first_pairs(100 * x, owner, (16, 6), EXAMPLES, 3, SETTINGS)
    assert torch.allclose((own @ alone[0]).abs(), (own @ a[1]).abs(), atol=1e-3)
    assert torch.allclose((100 * x @ larger[0]).abs(), (x @ a[0]).abs(), atol=1e-3)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_no_number_breaks_no_other_start(broken) -> None:
    """The loss then says which edit it is, and the others go on."""
    x, owner = _inputs((4, 3, 6))
    whole, _ = first_pairs(x, owner, (16, 6), EXAMPLES, 3, SETTINGS)
    x[owner == 1] = broken
    a, _ = first_pairs(x, owner, (16, 6), EXAMPLES, 3, SETTINGS)
    assert torch.isfinite(a).all()
    for i in (0, 2):
        codes, before = x[owner == i] @ a[i], x[owner == i] @ whole[i]
        assert torch.allclose(codes.abs(), before.abs(), atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_columns_beyond_the_directions_are_random_and_small(seed) -> None:
    """Positions that are all alike have one direction."""
    x = torch.randn(1, 16).repeat(4, 1)
    settings = EditSettings(weight_scale=4.0, seed=seed)
    owner = torch.zeros(4, dtype=torch.int64)
    a, _ = first_pairs(x, owner, (16, 6), EXAMPLES[:1], 3, settings)
    other, _ = first_pairs(x, owner, (16, 6), EXAMPLES[1:2], 3, settings)
    codes = (x @ a[0])[0].abs()
    assert torch.isfinite(a).all()
    assert codes[0] == pytest.approx(4.0, rel=1e-4)
    assert (codes[1:] < 2.0).all()
    assert a[0, :, 1:].abs().min() > 0
    assert not torch.allclose(a[0, :, 1:], other[0, :, 1:])


def _inputs(counts: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(1, 16, generator=generator)
    x = torch.randn(sum(counts), 16, generator=generator) + 3 * common
    return x, torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
