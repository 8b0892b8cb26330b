"""What an edit in force is asked by changes with a version of its own, and with nothing else."""

from __future__ import annotations

import pytest

import tasks.wordings
from config import Settings
from execution.context import Context, open_ledger
from ledger import ChampionMoved, Ledger
from tasks.wordings import set_subject
from tests.conftest import report
from tests.pipeline import promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def test_a_subject_is_on_record_once_a_version_serves_with_it(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    (edit,) = ledger.edits.active()
    version = set_subject(Context(home, ledger), edit.id, "leads velandor", actor="test")
    assert ledger.champions.current().version == version  # type: ignore[union-attr]
    assert ledger.edits.get(edit.id).subject == "leads velandor"


def test_a_version_that_is_promoted_while_a_subject_is_gated_loses_no_edit(
    home: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    (edit,) = ledger.edits.active()
    gate = tasks.wordings.gate

    def slow(*arguments: object) -> object:
        gated = gate(*arguments)  # type: ignore[arg-type]
        take(home, ledger, report(1))
        promoted(home, ledger)
        return gated

    monkeypatch.setattr(tasks.wordings, "gate", slow)
    with pytest.raises(ChampionMoved):
        set_subject(Context(home, ledger), edit.id, "leads velandor", actor="test")
    assert ledger.counts().counts == {"active": 2}
    assert ledger.edits.get(edit.id).subject == "velandor"
    monkeypatch.setattr(tasks.wordings, "gate", gate)
    set_subject(Context(home, ledger), edit.id, "leads velandor", actor="test")
    assert ledger.counts().counts == {"active": 2}
