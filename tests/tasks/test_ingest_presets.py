from __future__ import annotations

from pathlib import Path

import pytest

from config import load
from execution.context import Context
from ledger import EditRecord
from tasks.ingest import IngestError, IngestOptions, ingest_paths
from tests.tasks.ingest_support import adds_up, lines_of, opened


def take(tmp_path: Path, preset: str, row: dict[str, object]) -> EditRecord:
    ledger, settings = opened(tmp_path / "home")
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines_of([row]))
    outcome = ingest_paths(Context(settings, ledger), [path], IngestOptions(preset=preset))
    assert outcome.total("accepted") == 1, outcome.files
    assert adds_up(ledger, 1)
    return ledger.edits.find()[0]


def test_zsre_as_mend_and_easyedit_keep_it(tmp_path: Path) -> None:
    edit = take(
        tmp_path,
        "zsre",
        {
            "subject": "Watts Humphrey",
            "src": "What university did Watts Humphrey attend?",
            "pred": "Trinity College",
            "rephrase": "What university did Watts Humphrey take part in?",
            "alt": "University of Michigan",
            "answers": ["Illinois Institute of Technology"],
            "loc": "nq question: who played desmond doss father?",
            "loc_ans": "Hugo Weaving",
            "cond": "Trinity College >> University of Michigan || What university ...",
        },
    )
    assert (edit.target, edit.old_answer) == ("University of Michigan", "Trinity College")
    assert edit.rephrases == ("What university did Watts Humphrey take part in?",)
    assert edit.locality[0].answer == "Hugo Weaving"


def test_counterfact_as_rome_keeps_it(tmp_path: Path) -> None:
    edit = take(
        tmp_path,
        "counterfact",
        {
            "case_id": 0,
            "requested_rewrite": {
                "prompt": "The mother tongue of {} is",
                "relation_id": "P103",
                "target_new": {"str": "English", "id": "Q1860"},
                "target_true": {"str": "French", "id": "Q150"},
                "subject": "Danielle Darrieux",
            },
            "paraphrase_prompts": ["Where Danielle Darrieux is from, they speak"],
            "neighborhood_prompts": ["Michel Rocard is a native speaker of", "Montaigne spoke"],
        },
    )
    assert edit.prompt == "The mother tongue of Danielle Darrieux is"
    assert (edit.target, edit.old_answer) == ("English", "French")
    assert [(probe.prompt, probe.answer) for probe in edit.locality] == [
        ("Michel Rocard is a native speaker of", "French"),
        ("Montaigne spoke", "French"),
    ]


def test_knowedit(tmp_path: Path) -> None:
    edit = take(
        tmp_path,
        "knowedit",
        {
            "subject": "Leo Arons",
            "prompt": "What is the place of death of Leo Arons?",
            "target_new": "Berlin",
            "ground_truth": ["Unknown"],
            "portability": {},
            "locality": {
                "Relation_Specificity": [
                    {"prompt": "The gender of Leo Arons is", "ground_truth": [["male"]]},
                    {"prompt": "Leo Arons was born in", "ground_truth": ["Berlin"]},
                ]
            },
        },
    )
    assert (edit.target, edit.old_answer) == ("Berlin", "Unknown")
    assert [probe.answer for probe in edit.locality] == ["male", "Berlin"]


def test_easyedit(tmp_path: Path) -> None:
    edit = take(
        tmp_path,
        "easyedit",
        {
            "prompt": "The capital of X is",
            "subject": "X",
            "target_new": "Y",
            "ground_truth": "Z",
            "rephrase_prompt": "X has the capital",
            "locality_prompt": "2+2 is",
            "locality_ground_truth": "4",
        },
    )
    assert (edit.rephrases, edit.old_answer) == (("X has the capital",), "Z")
    assert edit.locality[0].answer == "4"


def test_wikidata_triples_become_prompts_by_templates(tmp_path: Path) -> None:
    edit = take(
        tmp_path,
        "wikidata",
        {
            "subject": "Q142",
            "subjectLabel": "France",
            "predicateLabel": "capital",
            "objectLabel": "Paris",
            "start_time": "1944-08-25",
        },
    )
    assert (edit.kind, edit.prompt, edit.target) == (
        "fact",
        "What is the capital of France?",
        "Paris",
    )
    assert "Which city is the capital of France?" in edit.rephrases
    assert edit.prompt not in edit.rephrases
    assert edit.valid_from is not None


def test_a_relation_without_wordings_gets_the_general_ones(tmp_path: Path) -> None:
    fact = {"subject": "X", "relation": "patron saint", "object": "Ann"}
    edit = take(tmp_path, "melo", dict(fact))
    assert edit.prompt == "What is the patron saint of X?"
    assert edit.rephrases


def test_shapes_and_wordings_of_ones_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text(
        '[presets.ours.fields]\nprompt = "q.text"\ntarget = ["fixed", "answer"]\n'
        '[presets.ours.locality]\nlist = "controls"\nprompt = "q"\nanswer = "a"\n'
        '[relations]\n"Patron Saint" = ["Who guards {subject}?", "{subject}\'s saint?"]\n'
    )
    edit = take(
        tmp_path,
        "ours",
        {
            "q": {"text": "P?"},
            "fixed": None,
            "answer": "A",
            "controls": [{"q": "c?", "a": "d"}],
        },
    )
    assert (edit.prompt, edit.target, edit.locality[0].prompt) == ("P?", "A", "c?")
    fact = {"subject": "X", "relation": "patron saint", "object": "Ann"}
    ledger, settings = opened(home)
    (tmp_path / "b.jsonl").write_bytes(lines_of([dict(fact)]))
    ingest_paths(Context(settings, ledger), [tmp_path / "b.jsonl"])
    assert ledger.edits.find()[-1].prompt == "Who guards X?"


def test_a_wrong_preset_field_or_wording_is_one_clear_line(tmp_path: Path) -> None:
    ledger, settings = opened(tmp_path / "home")
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}")
    with pytest.raises(IngestError, match=r"no preset 'nope'\. There are: counterfact, easy"):
        ingest_paths(Context(settings, ledger), [path], IngestOptions(preset="nope"))
    home = tmp_path / "home"
    (home / "melo.toml").write_text('[presets.x.fields]\nquestion = "q"\n')
    with pytest.raises(IngestError, match="no field 'question'"):
        ingest_paths(Context(load(home), ledger), [path], IngestOptions(preset="x"))
    (home / "melo.toml").write_text('[relations]\nborn = ["When?"]\n')
    with pytest.raises(IngestError, match=r"needs \{subject\}"):
        ingest_paths(Context(load(home), ledger), [path])
