"""What no version on record refers to goes; everything else stays loadable."""

from __future__ import annotations

import os
import shutil

import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.leases import held, lease
from execution.versions import Versions
from ledger import Job, Ledger
from tasks.compact import compact
from tasks.edit import edit_job
from tasks.judge import judge
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


def test_a_version_of_a_job_that_ends_meanwhile_stays(
    home: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(home, ledger, report(0))
    context = Context(home, ledger)
    plan(context)
    ref = lease(context)
    assert ref is not None
    result = edit_job(context, ref)
    find = ledger.jobs.find

    def judged_meanwhile(*, state: str | None = None) -> list[Job]:
        jobs = find(state=state)
        if state == "leased":
            judge(context, ref, result)
        return jobs

    monkeypatch.setattr(ledger.jobs, "find", judged_meanwhile)
    assert compact(context, older_than=-1).versions == 0
    monkeypatch.undo()
    (version,) = ledger.versions.all()
    assert Versions(home).edits_of(version.id)


def test_what_a_worker_left_for_a_job_that_has_ended_goes(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    (job,) = ledger.jobs.find()
    take(home, ledger, report(1))
    (waiting,) = plan(Context(home, ledger))
    names = [f"{job.id}.json", f".{job.id}.json.9-9.partial", f"{waiting.id}.plan.json"]
    for name in names:
        (home.paths.work / name).write_text("{}")
    compact(Context(home, ledger))
    assert {path.name for path in home.paths.work.iterdir()} == set(names), "they are young"
    compact(Context(home, ledger), older_than=-1)
    assert [path.name for path in home.paths.work.iterdir()] == names[2:]


def test_content_that_is_saved_again_counts_as_young(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = Versions(home).open(promoted(home, ledger))
    lost = version.without(list(version.edits))
    folder = Versions(home).save(lost)
    for _ in range(2):
        os.utime(folder, (0, 0))
        Versions(home).save(lost)
        assert compact(Context(home, ledger)).versions == 0
    os.utime(folder, (0, 0))
    assert compact(Context(home, ledger)).versions == 1


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
