from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import IllegalTransition, Ledger, UnknownId, states
from tests.ledger.support import NOON, report, take


def test_a_step_that_does_not_exist_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    take(ledger, [report("a?"), report("b?")])
    one, other = ledger.edits.find()
    ledger.edits.transition([one.id], "planned", "test", "x")
    with pytest.raises(IllegalTransition, match=r"is ready and can't become trained"):
        ledger.edits.transition([one.id, other.id], "trained", "test", "x")
    assert [edit.state for edit in ledger.edits.find()] == ["planned", "ready"]
    ledger.edits.transition([one.id], "ready", "test", "x")


def test_an_unknown_edit_or_state_is_told_as_such(ledger: Ledger) -> None:
    take(ledger, [report("a?")])
    with pytest.raises(UnknownId):
        ledger.edits.transition(["0" * 32], "held", "test", "x")
    for look in (ledger.edits.get, ledger.edits.history):
        with pytest.raises(UnknownId, match="is not on record"):
            look("0" * 32)
    with pytest.raises(IllegalTransition, match="is no state"):
        ledger.edits.transition([ledger.edits.find()[0].id], "done", "test", "x")


def test_active_is_reached_through_activation_only(ledger: Ledger) -> None:
    with pytest.raises(IllegalTransition, match="activate"):
        ledger.edits.transition([], "active", "test", "x")


def test_a_prefix_names_an_edit_where_it_fits_one(ledger: Ledger) -> None:
    take(ledger, [report(f"q{n}?") for n in range(20)])
    edit = ledger.edits.find()[7]
    assert ledger.edits.get(edit.id[:10]) == edit
    with pytest.raises(UnknownId):
        ledger.edits.get(edit.id[:1])


@settings(max_examples=4, deadline=None)
@given(walk=st.lists(st.sampled_from(states.STATES), min_size=1, max_size=12))
def test_any_walk_is_taken_or_refused_as_the_table_says(walk: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder, "l.duckdb")) as ledger:
        take(ledger, [report("a?")])
        (edit,) = ledger.edits.find()
        here, taken = edit.state, 2
        with ledger.store.write() as con:
            for to in walk:
                allowed = to in states.ALLOWED[here]
                try:
                    states.move(con, [edit.id], to, "x", states.Provenance(NOON, "walk"))
                    assert allowed
                    here, taken = to, taken + 1
                except IllegalTransition:
                    assert not allowed
        assert ledger.edits.get(edit.id).state == here
        assert len(ledger.edits.history(edit.id)) == taken
