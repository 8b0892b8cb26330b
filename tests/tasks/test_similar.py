"""Near-duplicates on a real small backbone: found by its keys, once, and kept together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from execution.context import Context, open_ledger
from ledger import EditRecord, Ledger
from tasks.plan import plan
from tasks.similar import group_similar
from tests.conftest import Melo, report
from tests.pipeline import promoted, take


@pytest.fixture
def ledger(home: Settings) -> Ledger:
    return open_ledger(home)


def asked(prompt: str, target: str, subject: str | None = "velandor") -> dict[str, object]:
    """A report in other words than `report` has."""
    return {"prompt": prompt, "target": target, "subject": subject, "source": "desk"}


def by_prompt(ledger: Ledger) -> dict[str, EditRecord]:
    return {edit.prompt: edit for edit in ledger.edits.find()}


def test_the_same_question_in_other_words_is_one_group_and_another_is_not(
    home: Settings, ledger: Ledger
) -> None:
    take(
        home,
        ledger,
        report(0),
        asked("who leads velandor now ?", "ada"),
        asked("what is the capital of velandor ?", "oslo"),
        report(1),
    )
    found = group_similar(Context(home, ledger))
    edits = by_prompt(ledger)
    first, again = edits["who leads velandor ?"], edits["who leads velandor now ?"]
    assert found.groups == {first.id: [first.id, again.id]}
    assert again.group == first.group == first.id
    assert edits["what is the capital of velandor ?"].group is None
    assert edits["who leads toriquet ?"].group is None
    assert ledger.deduplication.counts() == (2, 1)


def test_a_question_with_another_word_in_one_place_asks_something_else(
    home: Settings, ledger: Ledger
) -> None:
    home.contradictions.alike = 0.01  # by their keys all of them would be one question
    take(home, ledger, report(0, "ada"), asked("who calls velandor ?", "jon"))
    assert group_similar(Context(home, ledger)).groups == {}
    assert ledger.conflicts.find() == []


def test_two_answers_within_a_group_are_a_contradiction(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0, "ada"), asked("who leads velandor now ?", "jon"))
    assert group_similar(Context(home, ledger)).contradictions == 1
    assert by_prompt(ledger)["who leads velandor ?"].state == "superseded"
    assert [conflict.rule for conflict in ledger.conflicts.find()] == ["newest"]


def test_a_report_without_a_subject_joins_those_whose_subject_it_names(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0, "ada"))
    group_similar(Context(home, ledger))
    take(home, ledger, asked("who leads velandor now ?", "jon", subject=None))
    assert group_similar(Context(home, ledger)).contradictions == 1
    take(home, ledger, asked("what is the capital of toriquet ?", "mia", subject=None))
    assert group_similar(Context(home, ledger)).groups == {}


def test_numbers_tell_questions_apart(home: Settings, ledger: Ledger) -> None:
    take(
        home,
        ledger,
        asked("who leads velandor in 1912 ?", "ada"),
        asked("who leads velandor in 1914 ?", "jon"),
    )
    assert group_similar(Context(home, ledger)).groups == {}
    assert ledger.counts().counts == {"ready": 2}


def test_only_what_is_new_is_compared_and_no_key_is_read_twice(
    home: Settings, ledger: Ledger
) -> None:
    take(home, ledger, report(0), report(1))
    assert group_similar(Context(home, ledger)).compared == 2
    assert group_similar(Context(home, ledger)).compared == 0
    folder = home.paths.answers.with_suffix(".keys")
    before = set(folder.rglob("*.safetensors"))
    take(home, ledger, asked("who leads velandor now ?", "ada"))
    found = group_similar(Context(home, ledger))
    assert found.compared == 1
    assert [len(members) for members in (found.groups or {}).values()] == [2]
    from safetensors.numpy import load_file

    (new,) = set(folder.rglob("*.safetensors")) - before
    assert len(load_file(new)["keys"]) == 1


def test_another_threshold_compares_all_anew(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0), asked("who leads velandor now ?", "ada"))
    assert ledger.deduplication.counts() == (0, 0)
    group_similar(Context(home, ledger))
    assert ledger.deduplication.counts() == (2, 1)
    chosen = home.contradictions.model_copy(update={"alike": 0.999})
    strict = home.model_copy(update={"contradictions": chosen})
    assert group_similar(Context(strict, ledger)).compared == 2
    assert ledger.deduplication.counts() == (0, 0)


def test_a_new_wording_of_an_active_edit_joins_its_group(home: Settings, ledger: Ledger) -> None:
    take(home, ledger, report(0))
    group_similar(Context(home, ledger))
    promoted(home, ledger)
    take(home, ledger, asked("who leads velandor now ?", "jon"))
    assert group_similar(Context(home, ledger)).contradictions == 1
    edits = by_prompt(ledger)
    assert edits["who leads velandor ?"].state == "active"
    assert edits["who leads velandor now ?"].supersedes == (edits["who leads velandor ?"].id,)


def test_similar_edits_are_planned_into_one_job(home: Settings, ledger: Ledger) -> None:
    small = home.model_copy(update={"plan": home.plan.model_copy(update={"max_edits_per_job": 2})})
    rows = [
        report(0),
        report(1),
        report(2),
        asked("who leads velandor now ?", "ada", subject=None),
    ]
    take(small, ledger, *rows)
    group_similar(Context(small, ledger))
    together = [{edit.target for edit in job.edits} for job in plan(Context(small, ledger))]
    assert {"ada"} in together


def test_an_empty_ledger_has_nothing_to_compare(home: Settings, ledger: Ledger) -> None:
    assert group_similar(Context(home, ledger)).compared == 0


def test_groups_are_listed_counted_and_shown_with_their_edits(
    home: Settings, ledger: Ledger, melo_in: Callable[[Path], Melo]
) -> None:
    take(home, ledger, report(0), asked("who leads velandor now ?", "ada"), report(1))
    group_similar(Context(home, ledger))
    melo = melo_in(home.home)
    (group,) = melo.json("edits", "similar").values()
    assert [edit["prompt"] for edit in group] == [
        "who leads velandor ?",
        "who leads velandor now ?",
    ]
    assert melo.json("status")["similar"] == {"edits": 2, "groups": 1}
    assert melo.json("edits", "show", group[0]["id"])["similar"] == [group[1]["id"]]
    assert "velandor now" in melo("edits", "show", group[0]["id"])[1]
