"""The interval and the test against values worked out by hand and properties that must hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.gate.measures.statistics import mcnemar_worse, wilson


def test_wilsons_interval_has_its_published_values():
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)


def test_no_probes_give_no_interval():
    assert all(math.isnan(x) for x in wilson(0, 0))


@given(st.integers(1, 10_000), st.data())
def test_the_share_lies_in_its_interval(n: int, data: st.DataObject):
    passed = data.draw(st.integers(0, n))
    low, high = wilson(passed, n)
    assert 0 <= low <= passed / n + 1e-12
    assert passed / n - 1e-12 <= high <= 1


def test_mcnemar_is_the_sign_test():
    assert mcnemar_worse(5, 0) == 1 / 32
    assert mcnemar_worse(0, 9) == 1.0
    assert mcnemar_worse(3, 3) == pytest.approx(42 / 64)


@given(st.integers(400, 700), st.integers(400, 700))
def test_the_approximation_for_many_pairs_is_close_to_the_exact_value(lost: int, won: int):
    n = lost + won
    exact = sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n
    assert mcnemar_worse(lost, won) == pytest.approx(exact, abs=2e-3)
