"""Data sets of Hugging Face `datasets` and workbooks, written by their own libraries."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import datasets
import openpyxl
import pytest

from tests.tasks.shapes.shape_support import FIXTURES, edit_about, reasons, said, take

PREFERENCES = [
    {"prompt": "What is Norway's capital?", "chosen": "Oslo", "rejected": "Bergen", "score": 0.9},
    {"prompt": "Who leads Norvik Labs?", "chosen": None, "rejected": "Ada Li", "score": None},
]
CONVERSATIONS = [
    {
        "chosen": [
            {"role": "user", "content": "Who wrote Faust?"},
            {"role": "assistant", "content": "Goethe"},
        ],
        "rejected": [
            {"role": "user", "content": "Who wrote Faust?"},
            {"role": "assistant", "content": "Schiller"},
        ],
    }
]
SQUAD = [
    {
        "id": "q1",
        "title": "Norway",
        "context": "Oslo is ...",
        "question": "Norway's capital?",
        "answers": {"text": ["Oslo", "oslo"], "answer_start": [0, 0]},
    }
]
ALPACA = [
    {"instruction": "Give the antonym.", "input": "cold", "output": "hot"},
    {"instruction": "Name a river.", "input": "", "output": "Danube"},
]


def test_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_list(PREFERENCES),
            "test": datasets.Dataset.from_list([{**PREFERENCES[0], "prompt": "Norway's capital?"}]),
        }
    ).save_to_disk(str(folder))
    ledger, outcome = take(tmp_path / "home", folder)
    assert sorted(said(ledger)) == [
        ("Norway's capital?", "Oslo", "Bergen"),
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    assert [Path(file.name).suffix for file in outcome.files] == [".arrow", ".arrow"]
    edit = edit_about(ledger, "What is Norway's capital?")
    assert json.loads(ledger.edits.raw_lines(edit.id)[0][3])["raw"]["score"] == 0.9


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (CONVERSATIONS, [("Who wrote Faust?", "Goethe", "Schiller")]),
        (SQUAD, [("Norway's capital?", "Oslo", None)]),
        (ALPACA, [("Give the antonym.\ncold", "hot", None), ("Name a river.", "Danube", None)]),
        ([{"question": "2+2?", "answer": 4}], [("2+2?", "4", None)]),
        ([{"prompt": "2+2?", "completion": "4"}], [("2+2?", "4", None)]),
        ([{"messages": CONVERSATIONS[0]["chosen"]}], [("Who wrote Faust?", "Goethe", None)]),
        (
            [
                {
                    "conversations": [
                        {"from": "human", "value": "2+2?"},
                        {"from": "gpt", "value": "4"},
                    ]
                }
            ],
            [("2+2?", "4", None)],
        ),
    ],
)
def test_parquet_with_the_usual_columns(
    tmp_path: Path, rows: list[dict[str, object]], expected: list[tuple[str, str, str | None]]
) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    ledger, outcome = take(tmp_path / "home", path)
    assert said(ledger) == expected
    assert outcome.total("accepted") == len(rows)


@pytest.mark.parametrize("kind", ["parquet", "csv", "xlsx"])
def test_what_the_model_said_is_no_right_answer_where_the_column_for_that_is_empty(
    tmp_path: Path, kind: str
) -> None:
    rows: list[list[object]] = [
        ["Question", "Answer", "Correct Answer"],
        ["Norway's capital?", "Bergen", None],
        ["Who wrote Faust?", "Schiller", "Goethe"],
    ]
    path = tmp_path / f"checked.{kind}"
    if kind == "parquet":
        records = [dict(zip(map(str, rows[0]), row, strict=True)) for row in rows[1:]]
        datasets.Dataset.from_list(records).to_parquet(str(path))
    elif kind == "csv":
        path.write_text("\n".join(",".join(str(cell or "") for cell in row) for row in rows))
    else:
        workbook(path, {"Checked": rows})
    ledger, _ = take(tmp_path / "home", path)
    assert said(ledger) == [
        ("Norway's capital?", None, "Bergen"),
        ("Who wrote Faust?", "Goethe", "Schiller"),
    ]
    assert edit_about(ledger, "Norway's capital?").hold == "answer"


def test_argilla_records_as_the_data_set_that_they_are_exported_as(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (FIXTURES / "argilla_flat.jsonl").open()]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "set"))
    ledger, outcome = take(tmp_path / "home", tmp_path / "set")
    assert said(ledger)[0] == ("What is Norway's capital?", "Oslo", "Bergen")
    assert outcome.total("lines") == 5


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_every_sheet_of_a_workbook_is_read(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "reports.xlsx",
        {
            "March": [
                [],
                ["Prompt", "Target", "Subject", "reported at", "Note"],
                ["Who leads Norvik Labs?", "Bo Ek", "Norvik Labs", date(2026, 3, 1), "urgent!"],
                [None, None, None],
                ["How many moons has Mars?", 2, "Mars"],
                ["Is it open?", True],
                [1984, "x"],
            ],
            "Questions": [["Prompt", "Target"], ["What is Norway's\ncapital?", "Øslo"]],
            "Legend": [["colour", "meaning"], ["red", "bad"]],
        },
    )
    ledger, outcome = take(tmp_path / "home", path)
    assert said(ledger) == [
        ("Who leads Norvik Labs?", "Bo Ek", None),
        ("How many moons has Mars?", "2", None),
        ("Is it open?", "True", None),
        ("What is Norway's\ncapital?", "Øslo", None),
    ]
    edit = edit_about(ledger, "Who leads Norvik Labs?")
    assert (edit.subject, str(edit.valid_from)[:10]) == ("Norvik Labs", "2026-03-01")
    assert json.loads(ledger.edits.raw_lines(edit.id)[0][3])["Note"] == "urgent!"
    number, legend = [reason for _, reason in reasons(ledger)]
    assert number == "prompt must be a string or a list of messages; it is the number 1984"
    assert legend.startswith("nothing to correct: sheet Legend has no header with a column")
    assert outcome.total("quarantined") - outcome.total("passed_over") == 1


def test_a_workbook_without_a_known_column_is_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"Legend": [["colour", "meaning"], ["red", "bad"]]})
    ledger, _ = take(tmp_path / "home", path)
    (header, row) = [reason for _, reason in reasons(ledger)]
    assert header == row
    assert header.startswith(
        'sheet Legend: the header has no column "prompt" or "relation"; it has "colour", "meaning". '
        "Rename columns (prompt and target, or question and answer)"
    )


@pytest.mark.parametrize("names", [("Prompt", "Target"), ("Question", "Answer")])
def test_a_header_below_a_title_is_found(tmp_path: Path, names: tuple[str, str]) -> None:
    path = workbook(
        tmp_path / "a.xlsx",
        {
            "Note": [["Ask Eva about these."]],
            "S": [["Reports of March"], [], ["as of", date(2026, 3, 1)], [*names], ["2+2?", 4]],
        },
    )
    ledger, outcome = take(tmp_path / "home", path)
    assert said(ledger) == [("2+2?", "4", None)]
    assert outcome.total("quarantined") == outcome.total("passed_over") == 1


def test_a_workbook_of_questions_and_answers_is_told_by_its_header(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"S": [["Question", "Answer"], ["2+2?", 4]]})
    ledger, _ = take(tmp_path / "home", path)
    assert said(ledger) == [("2+2?", "4", None)]


@pytest.mark.parametrize("kind", ["xlsx", "arrow", "parquet"])
def test_half_a_file_and_a_wrong_one_are_one_clear_line(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / f"whole.{kind}"
    if kind == "xlsx":
        workbook(whole, {"S": [["Prompt", "Target"], ["2+2?", 4]]})
    elif kind == "arrow":
        datasets.Dataset.from_list(PREFERENCES).save_to_disk(str(tmp_path / "set"))
        whole.write_bytes(next((tmp_path / "set").glob("*.arrow")).read_bytes())
    else:
        datasets.Dataset.from_list(PREFERENCES).to_parquet(str(whole))
    half, wrong = tmp_path / f"half.{kind}", tmp_path / f"wrong.{kind}"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    wrong.write_text('{"prompt": "2+2?", "target": "4"}\n')
    ledger, outcome = take(tmp_path / "home", half, wrong)
    assert [file.quarantined for file in outcome.files] == [1, 1]
    assert all(reason.startswith("the file breaks off here: ") for _, reason in reasons(ledger))
    _, outcome = take(tmp_path / "home", whole)
    assert outcome.total("accepted") > 0


QUESTION, RIGHT, SAID = "What is Norway's capital?", "Oslo", "Bergen"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "right",
    [
        *"correct_answer ideal ground_truth reference expected expected_output correction".split(),
        *"Target Correct-Answer corrected_answer expectedOutput gold_answer".split(),
        "target ",
        "Expected Answer",
    ],
)
def test_the_right_answer_is_found_under_any_usual_name(
    tmp_path: Path, suffix: str, right: str
) -> None:
    for number, row in enumerate(
        [
            {"prompt": QUESTION, right: RIGHT},
            {"Question": QUESTION, right: RIGHT, "response": SAID},
            {"user_input": QUESTION, right: RIGHT, "response": SAID},
        ][: 2 if "arget" in right else 3]
    ):
        path = tmp_path / f"{number}.{suffix}"
        if suffix == "csv":
            path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
        else:
            path.write_text(json.dumps(row) + "\n")
        ledger, outcome = take(tmp_path / f"home{number}", path)
        assert said(ledger) == [(QUESTION, RIGHT, SAID if number else None)]
        assert outcome.files[0].unread == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "2+2?", "answer": "5", "ground_truth": "4"}, ("2+2?", "4", "5")),
        ({"question": "2+2?", "answer": "4", "reference": "https://a"}, ("2+2?", "4", None)),
        ({"input": "2+2?", "actual_output": "5", "expected_output": "4"}, ("2+2?", "4", "5")),
        ({"messages": [{"role": "user", "content": "2+2?"}], "ideal": "4"}, ("2+2?", "4", None)),
        (
            {
                "messages": [
                    {"role": "user", "content": "2+2?"},
                    {"role": "assistant", "content": "5"},
                ],
                "expected": "4",
            },
            ("2+2?", "4", "5"),
        ),
        ({"id": 3, "prompt": "2+2?", "correction": {"text": ["4", "four"]}}, ("2+2?", "4", None)),
        ({"PROMPT": "2+2?", "old-answer": "5"}, ("2+2?", None, "5")),
        (
            {"Subject": "Norway", "Relation": "capital", "Object": "Oslo"},
            (QUESTION.replace("Norway's capital", "the capital of Norway"), "Oslo", None),
        ),
    ],
)
def test_an_answer_that_is_named_right_goes_before_the_models_own(
    tmp_path: Path, row: dict[str, object], expected: tuple[str, str | None, str | None]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n")
    ledger, _ = take(tmp_path / "home", path)
    assert said(ledger) == [expected], reasons(ledger)


def test_two_keys_that_mean_the_same_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"Prompt": "2+2?", "PROMPT": "3+3?", "Target": "4"}\n')
    ledger, _ = take(tmp_path / "home", path)
    assert reasons(ledger) == [(1, 'two keys of the row mean "prompt"; keep one')]


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [
        ("a.csv", "prompt,foo,Bar\na?,x,y\nb?,x,y\n", ("foo", "Bar")),
        ("a.jsonl", '{"prompt": "a?", "foo": 1}\n{"prompt": "b?", "Bar": 1}\n', ("foo", "Bar")),
        ("b.csv", "question,answer,foo\na?,,x\nb?,,y\nc?,z,\n", ("foo",)),
    ],
)
def test_what_nobody_reads_is_told_where_answers_are_missing(
    tmp_path: Path, name: str, text: str, unread: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    _, outcome = take(tmp_path / "home", tmp_path / name)
    assert (outcome.files[0].unanswered, outcome.files[0].unread) == (2, unread)
