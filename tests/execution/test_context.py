"""What a run works on is opened once, whatever takes part in it."""

from __future__ import annotations

import pytest

from config import Settings
from execution.context import opened
from ledger import Ledger, LedgerBusy
from tasks.steps import promote_version, take_in_inbox
from tests.conftest import report, write_lines


def test_a_flow_within_a_run_takes_up_what_that_has_open(home: Settings) -> None:
    with opened(home.home) as run, opened(str(home.home)) as within:
        assert within is run
    with opened(home.home) as later:
        assert later.ledger is not run.ledger


def test_what_is_set_while_a_run_goes_on_counts_from_its_next_step_on(home: Settings) -> None:
    with opened(home.home) as run:
        text = home.paths.settings.read_text(encoding="utf-8")
        manual = f'{text}\n[registry]\npromotion = "manual"\n'
        home.paths.settings.write_text(manual, encoding="utf-8")
        assert run.settings.registry.promotion == "auto"
        assert not promote_version.fn(run, "any")
        assert run.settings.registry.promotion == "manual"


def test_readers_see_what_a_step_wrote_before_its_run_ends(home: Settings) -> None:
    with opened(home.home) as run:
        run.ledger.store.publish()
        with run.step():
            run.ledger.events.record("noted", "by a step")
        with Ledger.open(home.paths.read_ledger, read_only=True) as copy:
            assert [event.message for event in copy.events.latest(kind="noted")] == ["by a step"]


def test_ingestion_waits_for_a_busy_ledger_as_long_as_is_set(home: Settings) -> None:
    with home.paths.settings.open("a", encoding="utf-8") as file:
        file.write("\n[ledger]\ntimeout_seconds = 0.2\n")
    write_lines(home.paths.inbox / "night.jsonl", [report(3)])
    with (
        Ledger.open(home.paths.ledger) as other,
        other.store.write(),
        opened(home.home) as run,
        pytest.raises(LedgerBusy),
    ):
        take_in_inbox.fn(run)
