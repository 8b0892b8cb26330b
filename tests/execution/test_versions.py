"""Versions opened by id and by what they are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config import Settings
from execution.context import open_ledger
from execution.errors import TaskError, UnknownVersion
from execution.lineage import BASE, candidate, head, resolve
from execution.versions import Versions
from ledger import Ledger
from melo_engine.errors import VersionError
from melo_engine.projection import KeyProjection
from tests.conftest import report
from tests.pipeline import judged, promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def test_names_and_prefixes_lead_to_the_same_version(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    assert resolve(ledger, "champion") == resolve(ledger, second[:8]) == second
    assert resolve(ledger, "previous") == first
    assert resolve(ledger, "base") == BASE
    assert candidate(ledger) == head(ledger) == second
    edits_of = Versions(home).edits_of
    assert edits_of(second) > edits_of(first) > edits_of(BASE)


def test_a_version_of_an_earlier_projection_is_built_upon_as_it_is(
    home: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys and radii hold, also for edits that are made now."""
    earlier = KeyProjection.from_bytes(Versions(home).projection.to_bytes())
    earlier.deviation = 2 * earlier.deviation
    calibration = replace(Versions(home).calibration, bound=0.9)
    take(home, ledger, report(0))
    with monkeypatch.context() as before:
        before.setattr(Versions, "projection", property(lambda self: earlier))
        before.setattr(Versions, "calibration", property(lambda self: calibration))
        first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    versions = Versions(home)
    assert versions.open(first).projection_hash == earlier.content_hash()
    assert versions.open(second).projection_hash == earlier.content_hash()
    assert versions.projection.content_hash() != earlier.content_hash()
    assert versions.open(second).calibration == calibration
    assert {e.radius for e in versions.open(second).edits.values()} == {0.9}
    assert len(versions.edits_of(second)) == 2


@pytest.mark.parametrize("name", ["champion", "previous", "candidate", "0000", "x", "../etc"])
def test_a_version_that_is_not_there_is_one_clear_line(ledger: Ledger, name: str) -> None:
    with pytest.raises(UnknownVersion) as said:
        resolve(ledger, name)
    assert "\n" not in str(said.value)


def test_a_damaged_version_is_not_opened(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = judged(home, ledger).version
    assert version is not None
    edits = home.paths.version(version) / "edits.parquet"
    edits.write_bytes(edits.read_bytes()[:-1] + b"x")
    with pytest.raises(VersionError, match="damaged"):
        Versions(home).edits_of(version)
    with pytest.raises(VersionError):
        Versions(home).open("0" * 32)


def test_no_backbone_set_says_what_to_do(home: Settings) -> None:
    unset = home.model_copy(update={"backbone": home.backbone.model_copy(update={"path": None})})
    with pytest.raises(TaskError, match=r"backbone\.path"):
        Versions(unset).backbone_path()


def test_task_and_room_are_the_models_own_unless_they_are_set(home: Settings) -> None:
    opened = Versions(home).backbone
    assert (opened.task, opened.max_prompt_tokens) == ("seq2seq-lm", 64)
    for tokens, room in ((16, 16), (512, 64)):
        chosen = home.backbone.model_copy(
            update={"task": "seq2seq-lm", "max_prompt_tokens": tokens}
        )
        opened = Versions(home.model_copy(update={"backbone": chosen})).backbone
        assert (opened.task, opened.max_prompt_tokens) == ("seq2seq-lm", room)
