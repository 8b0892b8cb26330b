"""A version is deleted whole or not at all, and nothing else with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.tags import HASH_TAG
from config import Settings
from execution.context import Context, open_ledger
from execution.versions import Versions
from ledger import Ledger
from registry.errors import RegistryUnreachable
from registry.store import Registry
from tasks.errors import NotDeletable, NotPromotable
from tasks.register import delete as deleting
from tasks.register import promote
from tasks.register.delete import delete
from tests.pipeline import dies

VERSIONS = [f"{number}" * 32 for number in range(1, 4)]
DIES = """
import os, sys
from config import load
from execution.context import Context
from tasks.register import delete as deleting

home, version = sys.argv[1:]
deleting.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), 9)
deleting.delete(Context(load(home)), version, actor="dying", reason="old")
"""


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


@pytest.fixture
def spare(home: Settings, ledger: Ledger, tmp_path: Path) -> str:
    """The first of three champions, so that nothing stands on it."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    registry.client.create_registered_model(name)
    before = None
    for version in VERSIONS:
        home.paths.version(version).mkdir(parents=True)
        made = registry.client.create_model_version(
            name, source=str(tmp_path), tags={HASH_TAG: version}
        )
        ledger.versions.record(version, parent=None, job_id=None)
        ledger.versions.record_verdict(version, passed=True, reason="all is well")
        ledger.versions.note(version, {}, registry_version=str(made.version))
        ledger.champions.set(version, expected=before, actor="test", reason="newer")
        before = version
    return VERSIONS[0]


def number_of(home: Settings, version: str) -> str | None:
    registry = Registry(home)
    return registry.find(registry.name_for(Versions(home).backbone), version)


def test_a_number_that_stands_for_another_version_by_now_is_not_deleted(
    home: Settings, ledger: Ledger, spare: str
) -> None:
    champion = ledger.champions.current()
    assert champion is not None
    number = number_of(home, champion.version)
    ledger.versions.note(spare, {}, registry_version=number)  # as after the store was made anew
    delete(Context(home, ledger), spare, actor="test", reason="old")
    assert number_of(home, champion.version) == number
    assert not home.paths.version(spare).exists()


def test_a_version_that_is_being_deleted_is_not_promoted(
    home: Settings, ledger: Ledger, spare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, champion = Context(home, ledger), ledger.champions.current()
    assert champion is not None
    from_registry = deleting._delete_from_registry

    def promoted_meanwhile(*arguments: object) -> None:
        with pytest.raises(NotPromotable, match="was deleted"):
            promote(
                context,
                spare,
                expected=champion.version,
                actor="test",
                reason="back",
                going_back=True,
            )
        from_registry(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deleting, "_delete_from_registry", promoted_meanwhile)
    delete(context, spare, actor="test", reason="old")
    assert ledger.champions.current() == champion
    assert number_of(home, spare) is None


def test_a_version_stays_where_mlflow_does_not_let_go_of_it(
    home: Settings, ledger: Ledger, spare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise RegistryUnreachable("it is away")

    monkeypatch.setattr(Registry, "delete", away)
    with pytest.raises(NotDeletable, match="it is away"):
        delete(Context(home, ledger), spare, actor="test", reason="old")
    assert not ledger.versions.get(spare).info.get("deleted")
    assert home.paths.version(spare).is_dir()


def test_a_deletion_that_was_killed_is_done_by_the_same_command(
    home: Settings, ledger: Ledger, spare: str
) -> None:
    dies(DIES, str(home.home), spare)
    assert ledger.versions.get(spare).info["deleted"]
    delete(Context(home, ledger), spare, actor="test", reason="old")
    assert number_of(home, spare) is None
    assert not home.paths.version(spare).exists()
