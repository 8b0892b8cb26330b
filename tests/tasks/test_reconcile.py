"""A run that died anywhere is taken up by the next one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.errors import ManifestError
from config import Settings
from execution.context import Context, open_ledger
from execution.leases import lease
from execution.versions import Versions
from ledger import Ledger
from registry.store import Registry
from tasks.edit import edit_job
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import register
from tasks.register.promote import promote
from tests.conftest import report
from tests.pipeline import dies, judged, promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def dead_worker() -> str:
    """The name of a worker on this machine whose process has ended."""
    import socket

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{socket.gethostname()}:{process.pid}"


def test_a_job_of_a_dead_worker_is_given_back_at_once(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    job = ledger.jobs.lease(dead_worker(), lease_seconds=900)
    assert job is not None
    assert reconcile(Context(home, ledger)).jobs == 1
    assert ledger.jobs.get(job.id).state == "open"
    promoted(home, ledger)
    assert ledger.counts().counts == {"active": 1}


def test_a_job_outlives_three_workers_that_were_killed_but_not_any_number(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    worker = dead_worker()
    for death in range(1, 10):
        job = ledger.jobs.lease(worker, lease_seconds=900)
        assert job is not None
        assert reconcile(Context(home, ledger)).jobs == 1
        assert ledger.jobs.get(job.id).state == ("failed" if death == 9 else "open")


def test_a_job_of_a_living_worker_is_left_alone(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    plan(Context(home, ledger))
    ref = lease(Context(home, ledger))
    assert ref is not None
    assert reconcile(Context(home, ledger)).jobs == 0
    edit_job(Context(home, ledger), ref)


def test_a_verdict_without_registration_is_registered_and_promoted(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    version = judged(home, ledger).version
    assert version is not None
    mended = reconcile(Context(home, ledger))
    assert (mended.registered, mended.promoted) == (1, 1)
    assert ledger.champions.current().version == version  # type: ignore[union-attr]
    assert ledger.counts().counts == {"active": 1}
    assert reconcile(Context(home, ledger)).registered == 0


@pytest.fixture
def unserved(home: Settings, ledger: Ledger) -> str:
    """A version that passed its gate after the champion, and does not serve yet."""
    take(home, ledger, report(0))
    promoted(home, ledger)
    take(home, ledger, report(1))
    version = judged(home, ledger).version
    assert version is not None
    return version


def test_edits_of_a_version_whose_files_are_lost_are_planned_anew(
    home: Settings, ledger: Ledger, unserved: str
) -> None:
    shutil.rmtree(home.paths.version(unserved))
    Versions.forget_opened()
    assert reconcile(Context(home, ledger)).overtaken == 1
    promoted(home, ledger)
    assert ledger.counts().counts == {"active": 2}
    assert reconcile(Context(home, ledger)).overtaken == 0


def test_a_version_stays_while_the_champion_can_not_be_read_either(
    home: Settings, ledger: Ledger, unserved: str
) -> None:
    home.paths.versions.rename(home.home / "aside")
    Versions.forget_opened()
    with pytest.raises(ManifestError):
        reconcile(Context(home, ledger))
    (home.home / "aside").rename(home.paths.versions)
    assert reconcile(Context(home, ledger)).promoted == 1
    assert ledger.champions.current().version == unserved  # type: ignore[union-attr]


RESTORED = """
import sys
from artifacts.tags import HASH_TAG
from config import load
from execution.context import Context
from execution.versions import Versions
from registry.store import Registry
from tasks.reconcile import reconcile

settings = load(sys.argv[1])
reconcile(Context(settings))
registry = Registry(settings)
name = registry.name_for(Versions(settings).backbone)
for alias, number in sorted(registry.client.get_registered_model(name).aliases.items()):
    print(alias, registry.client.get_model_version(name, number).tags[HASH_TAG])
"""


def test_aliases_name_the_right_content_where_mlflow_was_restored_from_an_older_backup(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    shutil.copy(home.paths.mlflow_db, home.home / "backup.db")
    take(home, ledger, report(1))
    second = promoted(home, ledger)
    with home.paths.settings.open("a") as file:
        file.write('\n[registry]\npromotion = "manual"\n')
    take(home, ledger, report(2))
    third = judged(home, ledger).version
    for left in home.home.glob(f"{home.paths.mlflow_db.name}*"):
        left.unlink()
    shutil.copy(home.home / "backup.db", home.paths.mlflow_db)
    done = subprocess.run(
        [sys.executable, "-c", RESTORED, str(home.home)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    aliases = dict(line.split() for line in done.stdout.splitlines())
    assert aliases == {"candidate": third, "champion": second, "previous": first}


def test_an_alias_that_was_not_set_is_set(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    first = promoted(home, ledger)
    take(home, ledger, report(1))
    second = judged(home, ledger).version
    assert second is not None
    register(Context(home, ledger), second)
    ledger.champions.set(second, expected=first, actor="test", reason="died right after this")
    reconcile(Context(home, ledger))
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    aliases = registry.client.get_registered_model(name).aliases
    assert {k: str(v) for k, v in aliases.items() if k == "champion"} == {"champion": "2"}


def alias_of(home: Settings, alias: str) -> str:
    """The number that an alias of the home's registered model points at."""
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    return str(registry.client.get_registered_model(name).aliases[alias])


def test_an_alias_that_was_moved_is_put_back(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    take(home, ledger, report(1))
    promoted(home, ledger)
    registry = Registry(home)
    registry.set_alias(registry.name_for(Versions(home).backbone), "champion", "1")
    reconcile(Context(home, ledger))
    assert alias_of(home, "champion") == "2"


def test_a_half_uploaded_run_is_closed_and_logged_again(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = judged(home, ledger).version
    assert version is not None
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    experiment = registry.experiment(name)
    registry.client.create_run(experiment, tags={"melo.content_hash": version})
    reconcile(Context(home, ledger))
    states = sorted(r.info.status for r in registry.client.search_runs([experiment]))
    assert states == ["FINISHED", "KILLED"]


def test_what_dead_writers_left_is_swept_and_versions_stay(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    version = promoted(home, ledger)
    dead = dead_worker().replace(":", ".")
    left = home.paths.versions / f".abc.{dead}.partial"
    left.mkdir()
    assert reconcile(Context(home, ledger)).swept == 1
    assert not left.exists()
    assert (home.paths.versions / version).is_dir()


def test_manual_promotion_waits_and_the_next_version_builds_on_the_candidate(
    home: Settings, ledger: Ledger
) -> None:
    manual = home.model_copy(
        update={"registry": home.registry.model_copy(update={"promotion": "manual"})}
    )
    take(manual, ledger, report(0))
    first = judged(manual, ledger).version
    reconcile(Context(manual, ledger))
    assert ledger.champions.current() is None
    take(manual, ledger, report(1))
    second = judged(manual, ledger).version
    assert second is not None
    assert ledger.versions.get(second).parent == first
    promote(Context(manual, ledger), second, expected=None, actor="test", reason="looked at it")
    assert ledger.counts().counts == {"active": 2}


KILLED = """
import os, pkgutil, sys
from pathlib import Path
import tasks.judge, tasks.edit.job, tasks.register.upload, tasks.register.promote, tasks.register
from config import load
from tasks.plan import plan
from execution.context import Context
from execution.leases import lease

home, where = sys.argv[1], sys.argv[2]
place, name = where.rsplit(".", 1)
owner = pkgutil.resolve_name(place)
function = getattr(owner, name)

def dies(*args, **kwargs):
    if {before!r} == "before":
        os.kill(os.getpid(), 9)
    function(*args, **kwargs)
    os.kill(os.getpid(), 9)

setattr(owner, name, dies)
context = Context(load(home))
plan(context)
ref = lease(context)
verdict = tasks.judge.judge(context, ref, tasks.edit.job.edit_job(context, ref))
tasks.register.upload.register(context, verdict.version)
sys.modules["tasks.register.promote"].advance(
    context, verdict.version, actor="dying"
)
"""

PLACES = [
    ("before", "execution.versions.Versions.save"),
    ("after", "execution.versions.Versions.save"),
    ("after", "tasks.edit.job.write"),
    ("before", "tasks.judge.record"),
    ("before", "tasks.judge.write_report"),
    ("before", "tasks.judge.forget"),
    ("after", "tasks.register.upload.pack"),
    ("before", "tasks.register.upload._note"),
    ("before", "registry.store.Registry.set_alias"),
    ("before", "tasks.register.promote._settle"),
    ("before", "tasks.register.promote.follow"),
]


@pytest.mark.parametrize(("when", "where"), PLACES)
def test_a_killed_run_is_finished_by_the_next(
    home: Settings, ledger: Ledger, when: str, where: str
) -> None:
    take(home, ledger, report(0))
    script = KILLED.replace("{before!r}", repr(when))
    dies(script, str(home.home), where)
    reconcile(Context(home, ledger))
    if ledger.champions.current() is None:
        promoted(home, ledger)
    assert ledger.counts().counts == {"active": 1}
    champion = ledger.champions.current()
    assert champion is not None
    assert ledger.versions.get(champion.version).verdict == "passed"
    registry = Registry(home)
    name = registry.name_for(Versions(home).backbone)
    assert len(registry.client.search_model_versions(f"name='{name}'")) == 1
    assert registry.client.get_registered_model(name).aliases.keys() == {"champion", "candidate"}
    runs = registry.client.search_runs([registry.experiment(name)])
    assert sum(run.info.status == "FINISHED" for run in runs) == 1
    assert not any(run.info.status == "RUNNING" for run in runs)
