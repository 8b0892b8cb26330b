"""What no version on record refers to goes; everything else stays loadable."""

from __future__ import annotations

import shutil

import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.leases import held, lease
from execution.versions import Versions
from ledger import Ledger
from tasks.compact import compact
from tasks.edit import edit_job
from tasks.plan import plan
from tests.conftest import report
from tests.pipeline import promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def test_candidates_that_never_got_to_a_verdict_go(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    take(home, ledger, report(2))
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None
    job = held(ledger, ref)
    lost = edit_job(Context(home, ledger), ref).candidate
    assert compact(Context(home, ledger), older_than=-1).versions == 0, "the job goes on from it"
    ledger.jobs.fail(job, "the network was gone", max_attempts=1)
    assert compact(Context(home, ledger)).versions == 0, "it is young: a worker may be at it"
    before = len(list(home.paths.shards.iterdir()))
    done = compact(Context(home, ledger), older_than=-1)
    assert (done.versions, done.shards) == (1, 1)
    assert done.bytes > 0
    assert not home.paths.version(lost).exists()
    assert len(list(home.paths.shards.iterdir())) == before - 1
    assert Versions(home).edits_of(second) > Versions(home).edits_of(first)


def test_no_shard_goes_while_a_version_can_not_be_read(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    manifest = home.paths.version(first) / "manifest.json"
    said, kept = manifest.read_text(), sorted(home.paths.shards.iterdir())
    shutil.copytree(kept[0], home.paths.shards / "unused")
    manifest.write_text(said[:-40])
    done = compact(Context(home, ledger), older_than=-1)
    assert (done.shards, done.unreadable) == (0, 1)
    home.paths.version(first).rename(home.home / "aside")
    assert compact(Context(home, ledger), older_than=-1).unreadable == 1
    (home.home / "aside").rename(home.paths.version(first))
    manifest.write_text(said)
    done = compact(Context(home, ledger), older_than=-1)
    assert (done.shards, done.unreadable) == (1, 0)
    assert sorted(home.paths.shards.iterdir()) == kept


def test_a_home_without_versions_is_left_as_it_is(home: Settings, ledger: Ledger) -> None:
    assert compact(Context(home, ledger)).bytes == 0
