from __future__ import annotations

import csv
import json
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config import load
from execution.context import Context
from ledger import EditRecord
from tasks.ingest import IngestError, IngestOptions, ingest_paths, retry_quarantined
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


@pytest.mark.parametrize(
    "path", ["attributes.input.value", '$."attributes.input.value"', "Input (value)", 'the "input"']
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_column_may_have_any_name(tmp_path: Path, path: str, name: str) -> None:
    column = path.removeprefix("$.").strip('"') if path.startswith("$") else path
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text(
        f"[presets.ours.fields]\nprompt = {json.dumps(path)}\ntarget = 'attributes.right'\n"
        "[presets.ours.locality]\nprompts = 'near.question'\nanswers = 'near.answer'\n"
    )
    row = {column: "2+2?", "attributes.right": "4", "near.question": "3+3?", "near.answer": "6"}
    file = tmp_path / name
    if name == "a.csv":
        with file.open("w", newline="") as table:
            csv.writer(table).writerows([row.keys(), row.values()])
    else:
        file.write_bytes(lines_of([dict(row)]))
    ledger, settings = opened(home)
    ingest_paths(Context(settings, ledger), [file], IngestOptions(preset="ours"))
    (edit,) = ledger.edits.find()
    assert (edit.prompt, edit.target) == ("2+2?", "4")
    assert [(near.prompt, near.answer) for near in edit.locality] == [("3+3?", "6")]


def test_a_path_leads_into_objects_and_lists(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "melo.toml").write_text(
        '[presets.ours.fields]\nprompt = "a.b[0].q"\ntarget = "$.a.\\"c.d\\"[-1]"\n'
    )
    row: dict[str, object] = {"a": {"b": [{"q": "2+2?"}], "c.d": ["5", "4"]}}
    edit = take(tmp_path, "ours", row)
    assert (edit.prompt, edit.target) == ("2+2?", "4")
    doubled = tmp_path / "b.jsonl"
    doubled.write_text('{"a": {"b": [{"q": "3+3?", "q": "4+4?"}], "c.d": ["6"]}}\n')
    ledger, settings = opened(home)
    ingest_paths(Context(settings, ledger), [doubled], IngestOptions(preset="ours"))
    assert [kept.reason for kept in ledger.quarantine.find()] == [
        'the key "q" comes twice in one object; keep one'
    ]


@pytest.mark.parametrize(
    "path", ["$[bad", "$", "$.", "$.a[*]", "$..a", '$."a', "$a", "$.a[0", " ", ""]
)
@pytest.mark.parametrize("field", ["fields.prompt", "locality.list", "locality.prompts"])
def test_a_path_that_is_none_is_one_clear_line(tmp_path: Path, path: str, field: str) -> None:
    ledger, _ = opened(tmp_path / "home")
    table, name = field.split(".")
    (tmp_path / "home" / "melo.toml").write_text(
        f"[presets.ours.{table}]\n{name} = {json.dumps(path)}\n"
    )
    (tmp_path / "a.jsonl").write_bytes(b"{}")
    settings, options = load(tmp_path / "home"), IngestOptions(preset="ours")
    with pytest.raises(
        IngestError, match=rf"preset ours, field {field.removeprefix('fields.')}: .* Give"
    ):
        ingest_paths(Context(settings, ledger), [tmp_path / "a.jsonl"], options)


def table(path: Path) -> Path:
    """A table of three columns that no shape knows, in the format of the file's name."""
    rows = [["frage", "richtig", "note"], ["2+2?", "4", ""], ["3+3?", "6", "x"]]
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        book.save(path)
    else:
        columns = [list(column) for column in zip(*rows[1:], strict=True)]
        pq.write_table(pa.table(columns, names=rows[0]), path)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.parquet"])
@pytest.mark.parametrize("way", ["retry", "again"])
def test_a_table_whose_header_was_not_known_leaves_the_quarantine(
    tmp_path: Path, name: str, way: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ledger, settings = opened(home)
    path = table(tmp_path / name)
    assert ingest_paths(Context(settings, ledger), [path]).total("accepted") == 0
    assert len(ledger.quarantine.find()) == (2 if name == "a.parquet" else 3)
    (home / "melo.toml").write_text('[presets.ours.fields]\nprompt = "frage"\ntarget = "richtig"\n')
    context = Context(load(home), ledger)
    if way == "retry":
        retry_quarantined(context, preset="ours")
    else:
        ingest_paths(context, [path], IngestOptions(preset="ours", again=True))
    assert [(edit.prompt, edit.target) for edit in ledger.edits.find()] == [
        ("2+2?", "4"),
        ("3+3?", "6"),
    ]
    assert ledger.quarantine.find() == []
    assert adds_up(ledger, ledger.counts().lines)
