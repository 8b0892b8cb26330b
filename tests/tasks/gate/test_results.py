"""Results that are made when they are looked at stand where results that are held would stand."""

from __future__ import annotations

import pytest

from tasks.gate import ProbeResult
from tasks.gate.results import ProbeResults


def result(number: int, *, passed: bool = True) -> ProbeResult:
    return ProbeResult("mine", str(number), f"prompt {number}", "", "", "", passed, None, True)


def ids(results: ProbeResults) -> list[str]:
    return [r.probe_id for r in results]


@pytest.fixture
def made() -> list[int]:
    return []


@pytest.fixture
def some(made: list[int]) -> ProbeResults:
    def untouched(place: int) -> ProbeResult:
        made.append(place)
        return result(place)

    return ProbeResults(5, {3: result(3, passed=False)}, untouched)


def test_each_place_has_its_result_held_or_made(some: ProbeResults, made: list[int]) -> None:
    assert ids(some) == ["0", "1", "2", "3", "4"]
    assert made == [0, 1, 2, 4]
    assert (some[-1].probe_id, some[3].passed, [r.probe_id for r in some[1:3]]) == (
        "4",
        False,
        ["1", "2"],
    )
    with pytest.raises(IndexError):
        some[5]


def test_what_fails_is_known_without_making_a_result(some: ProbeResults, made: list[int]) -> None:
    assert [r.probe_id for r in some.failing] == ["3"]
    assert made == []


def test_suites_one_after_another_keep_their_order_and_their_failures(some: ProbeResults) -> None:
    other = ProbeResults.of([result(10), result(11, passed=False)])
    both = ProbeResults.chained([other, ProbeResults.of(()), some, other])
    assert ids(both) == ["10", "11", "0", "1", "2", "3", "4", "10", "11"]
    assert [r.probe_id for r in both.failing] == ["11", "3", "11"]
    assert len(ProbeResults.chained([])) == 0


def test_one_result_is_replaced_and_the_others_stay(some: ProbeResults) -> None:
    [failing] = some.failing
    changed = some.replaced({id(failing): result(33, passed=False)})
    assert ids(changed) == ["0", "1", "2", "33", "4"]
    assert ids(some) == ["0", "1", "2", "3", "4"]
