"""What befalls a home: the fuzz itself, short, and that it sees what goes wrong."""

from __future__ import annotations

import pytest

from benchmarks import situations
from benchmarks.mishaps import STEPS
from benchmarks.world import World

SHORT = ("reports", "move", "re-edit", "odd file", "revocation", "rollback", "siblings")


@pytest.mark.slow
def test_nothing_is_lost_in_a_home_that_things_befall() -> None:
    record = situations.bench(seed=3, kinds=SHORT)
    assert record["violations"] == []
    assert record["done"] == dict.fromkeys(sorted(SHORT), 1)
    assert record["left_out"] == {}
    assert record["counts"]["active"] >= 3


@pytest.mark.slow
def test_a_violation_is_told_with_its_step_and_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    few = STEPS["reports"][0]

    def careless(world: World) -> bool:
        few(world)
        world.lines += 1
        print("Traceback (most recent call last):")
        with world.ledger() as ledger:
            prompt = ledger.edits.active()[0].prompt
        world.untouched[0] = prompt.split()[2]
        return True

    monkeypatch.setitem(STEPS, "reports", (careless, 1))
    violations = situations.bench(seed=3, kinds=("reports",))["violations"]
    assert all(said.startswith("step 0, reports: ") for said in violations)
    for problem in ("lines went in", "a traceback was printed", "by the backbone"):
        assert sum(problem in said for said in violations) == 1
