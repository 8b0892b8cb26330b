from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ledger import Ledger
from tasks.ingest import group_similar, ingest_inbox, ingest_paths
from tasks.ingest.inbox import watch_inbox
from tests.tasks.ingest_support import ROWS, adds_up, lines_of, opened


def test_the_inbox_is_emptied_into_done(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS[:3]))
    (inbox / "b.jsonl.part").write_bytes(lines_of(ROWS[3:]))
    assert ingest_inbox(ledger, settings).total("accepted") == 3
    assert [entry.name for entry in inbox.iterdir() if entry.is_file()] == ["b.jsonl.part"]
    assert [entry.name[13:] for entry in (inbox / "done").iterdir()] == ["a.jsonl"]
    assert ingest_inbox(ledger, settings).files == []


def test_a_file_taken_but_not_yet_moved_is_only_moved(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    inbox = settings.paths.inbox
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    ingest_paths(ledger, [inbox / "a.jsonl"], settings)
    assert ingest_inbox(ledger, settings).files[0].known_before
    assert list(inbox.glob("*.jsonl")) == []
    assert adds_up(ledger, 7)


def test_the_watched_inbox_takes_what_arrives(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path)
    arrivals = watch_inbox(ledger, settings)
    assert next(arrivals).files == []
    (settings.paths.inbox / "a.jsonl").write_bytes(lines_of(ROWS))
    assert next(arrivals).total("accepted") == 7
    arrivals.close()


def by_last_word(prompts: Sequence[str]) -> NDArray[np.float32]:
    """Keys that are alike where prompts end alike."""
    words = sorted({prompt.split()[-1] for prompt in prompts})
    keys = np.zeros((len(prompts), len(words)), np.float32)
    for row, prompt in enumerate(prompts):
        keys[row, words.index(prompt.split()[-1])] = 2.0
    return keys


def test_near_duplicates_are_grouped_by_the_keys_and_kept_in_one_job(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    rows: list[dict[str, object]] = [
        {"prompt": "Who made Tatra?", "target": "Ann", "subject": "A"},
        {"prompt": "Where is Oslo?", "target": "Norway", "subject": "B"},
        {"prompt": "The maker of Tatra?", "target": "Ann", "subject": "C"},
        {"prompt": "Whose is Tatra?", "target": "Bob", "subject": "A"},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines_of(rows))
    ingest_paths(ledger, [tmp_path / "a.jsonl"], settings)
    groups = group_similar(ledger, settings, by_last_word)
    assert [len(members) for members in groups.values()] == [3]
    found = {edit.prompt: edit for edit in ledger.edits()}
    assert found["Who made Tatra?"].group == found["The maker of Tatra?"].group
    assert found["Where is Oslo?"].group is None
    assert found["Who made Tatra?"].state == "superseded"
    assert [contest.rule for contest in ledger.contests()] == ["newest"]
    jobs = ledger.plan_jobs(max_edits=2)
    assert {edit.target for job in jobs if len(job.edits) == 2 for edit in job.edits} == {
        "Ann",
        "Bob",
    }


def test_grouping_an_empty_ledger_is_nothing(ledger_home: tuple[Ledger, Path]) -> None:
    ledger, home = ledger_home
    _, settings = opened(home)
    assert group_similar(ledger, settings, by_last_word) == {}
