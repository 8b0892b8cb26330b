"""From a leased job to a candidate version on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import Settings
from execution.context import Context, open_ledger
from execution.leases import held, lease
from execution.lineage import BASE
from execution.versions import Versions
from execution.work_folder import forget
from ledger import Ledger
from tasks.edit import edit_job, trained
from tasks.ingest import ingest_paths
from tasks.plan import plan
from tests.conftest import report, write_lines


@pytest.fixture
def ledger(home: Settings, tmp_path: Path) -> Ledger:
    """Three reports, planned as one job."""
    opened = open_ledger(home)
    ingest_paths(
        Context(home, opened), [write_lines(tmp_path / "in.jsonl", [report(i) for i in range(3)])]
    )
    plan(Context(home, opened))
    return opened


def test_a_job_becomes_a_version_that_answers_its_targets(home: Settings, ledger: Ledger) -> None:
    ref = lease(Context(home, ledger))
    assert ref is not None
    job = held(ledger, ref)
    result = edit_job(Context(home, ledger), ref)
    assert result.base == BASE
    editor = Versions(home).editor(result.candidate)
    answers = editor.answer([edit.prompt for edit in job.edits])
    assert [a.text for a in answers] == [edit.target for edit in job.edits]
    assert [a.edit for a in answers] == [edit.id for edit in job.edits]


def test_what_an_earlier_attempt_left_is_found_and_not_trained_again(
    home: Settings, ledger: Ledger
) -> None:
    ref = lease(Context(home, ledger))
    assert ref is not None
    first = edit_job(Context(home, ledger), ref)
    assert trained(Context(home, ledger), ref.id) == first
    assert edit_job(Context(home, ledger), ref) == first
    forget(home, ref.id)
    assert trained(Context(home, ledger), ref.id) is None


def test_training_again_gives_the_same_content(home: Settings, ledger: Ledger) -> None:
    ref = lease(Context(home, ledger))
    assert ref is not None
    first = edit_job(Context(home, ledger), ref)
    forget(home, ref.id)
    assert edit_job(Context(home, ledger), ref).candidate == first.candidate


def test_a_half_written_record_counts_as_none(home: Settings, ledger: Ledger) -> None:
    (home.home / "work").mkdir()
    (home.home / "work" / "some.json").write_text('{"job": "some"')
    assert trained(Context(home, ledger), "some") is None


def test_the_base_is_the_backbone_without_edits(home: Settings) -> None:
    assert len(Versions(home).open(BASE)) == 0
