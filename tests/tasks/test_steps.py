"""The steps of a run, one after the other: what a failure of one does to its job and to the rest."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from config import Settings
from console import signals
from execution.context import Context, open_ledger, opened
from execution.failures import working_on
from execution.leases import Handback, JobRef, hand_back, lease
from execution.versions import Versions
from ledger import Ledger, LedgerBusy
from melo_engine.errors import VersionError
from tasks.edit import edit_job
from tasks.plan import plan
from tasks.steps import gate, mend, next_job, step
from tests.conftest import report
from tests.pipeline import promoted, take

pytestmark = pytest.mark.usefixtures("prefect_server")  # a job that is set aside is told of


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


@pytest.fixture
def told_to_end() -> Iterator[None]:
    """This process ends by itself when it is told to, as a worker does."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    signals.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signals._received.clear()  # else every later command of this process says that it was told


def leased(settings: Settings, ledger: Ledger) -> JobRef:
    plan(Context(settings, ledger))
    ref = lease(Context(settings, ledger))
    assert ref is not None
    return ref


def run_that_fails(settings: Settings) -> list[str]:
    """The jobs of a run in which each one fails."""
    taken = list[str]()
    with opened(settings.home) as context:
        mend.fn(context)
        while ref := next_job.fn(context, taken):
            taken.append(ref.id)
            with working_on(context, ref):
                raise ValueError("its block breaks down")
    return taken


def test_a_run_takes_each_job_once_and_the_third_that_fails_sets_it_aside(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, *(report(i) for i in range(6)))
    jobs = {job.id for job in plan(Context(home, ledger))}
    for _ in range(3):
        assert ledger.jobs.find(state="failed") == []
        assert set(run_that_fails(home)) == jobs
    assert {job.id for job in ledger.jobs.find(state="failed")} == jobs
    assert ledger.counts().counts == {"rejected": 6}
    assert run_that_fails(home) == []


def test_a_removal_that_can_not_be_done_ends_the_run_and_is_planned_by_the_next(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    promoted(home, ledger)
    text = home.paths.settings.read_text().replace("[plan]", "[plan]\nmax_attempts = 1")
    home.paths.settings.write_text(text)
    ledger.removals.request([ledger.edits.find()[0].id], actor="bob", reason="invented")
    first, second = run_that_fails(home), run_that_fails(home)
    assert (len(first), len(second)) == (1, 1)
    assert ledger.jobs.get(second[0]).removals == ledger.jobs.get(first[0]).removals != ()


def test_a_champion_that_is_damaged_ends_the_run_and_counts_against_no_job(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    champion = promoted(home, ledger)
    (home.paths.version(champion) / "manifest.json").write_text("{}")
    take(home, ledger, report(1))
    plan(Context(home, ledger))
    for _ in range(4):
        ref = leased(home, ledger)
        Versions.forget_opened()
        with pytest.raises(VersionError), working_on(Context(home, ledger), ref):
            edit_job(Context(home, ledger), ref)
    assert ledger.counts().counts == {"active": 1, "planned": 1}


@pytest.mark.usefixtures("told_to_end")
def test_a_worker_that_is_told_to_end_hands_its_job_back(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    for _ in range(4):
        ref = leased(home, ledger)
        with pytest.raises(SystemExit), working_on(Context(home, ledger), ref):
            signal.raise_signal(signal.SIGTERM)
        assert ledger.jobs.get(ref.id).state == "open"
    assert hand_back(Context(home, ledger), leased(home, ledger), "a bug") is Handback.TRIED_AGAIN


def test_a_step_is_tried_again_on_what_its_run_has_open(home: Settings, ledger: Ledger) -> None:
    tries = list[Context]()

    @step("busy-once")
    def busy_once(context: Context) -> bool:
        tries.append(context)
        if len(tries) == 1:
            raise LedgerBusy("another process writes")
        return len(tries) == 2

    run = Context(home, ledger)
    assert busy_once(run)
    assert tries == [run, run]


def test_a_gate_that_is_tried_again_after_its_verdict_gives_that_verdict(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0))
    ref = leased(home, ledger)
    first = gate.fn(Context(home, ledger), ref)
    second = gate.fn(Context(home, ledger), ref)
    assert first.version is not None
    assert (second.version, second.passed, second.added) == (first.version, True, 1)
    assert list((home.home / "work").iterdir()) == []
