"""Numbers, dates and truth values become the texts that people see in their tools."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from pathlib import Path

import openpyxl
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tasks.shapes.shape_support import reasons, said, take

NUMBERED = [
    {"id": 17, "prompt": "Who leads Norvik Labs?", "target": "Ada Li"},
    {"id": 18, "prompt": "Who wrote Faust?", "target": "Goethe"},
]


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    """Rows in the format that the file's name asks for, each by the library that people use."""
    frame = pandas.DataFrame(rows)
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".json":
            frame.to_json(path, orient="records")
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".xlsx":
            frame.to_excel(path, index=False)
        case ".csv":
            frame.to_csv(path, index=False)
    return path


FORMATS = [".jsonl", ".json", ".parquet", ".xlsx", ".csv"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_id_may_be_a_number(tmp_path: Path, suffix: str) -> None:
    ledger, outcome = take(tmp_path / "home", written(tmp_path / f"a{suffix}", NUMBERED))
    assert (outcome.total("accepted"), reasons(ledger)) == (2, [])
    first = {"prompt": "Who leads Norvik Labs?", "target": "Bo Ek", "supersedes": 17}
    take(tmp_path / "home", written(tmp_path / f"b{suffix}", [first]))
    ((conflict, rule),) = [(c.winner, c.rule) for c in ledger.conflicts.find()]
    assert rule == "supersedes"
    assert conflict is not None
    assert ledger.edits.get(conflict).target == "Bo Ek"


@pytest.mark.parametrize(
    ("suffix", "row"),
    [
        (".jsonl", {"messages": [{"role": "user", "content": "2+2?"}], "id": 7}),
        (".jsonl", {"input": "2+2?", "ideal": "4", "id": 7}),
        (".jsonl", {"conversations": [{"from": "human", "value": "2+2?"}], "id": 7}),
        (".jsonl", {"question": "2+2?", "answer": "4", "id": 7.0}),
        (".jsonl", {"id": 7, "prompt": "2+2?", "response": "5", "correction.responses": ["4"]}),
    ],
)
def test_the_number_of_a_row_of_another_tool_is_kept(
    tmp_path: Path, suffix: str, row: dict[str, object]
) -> None:
    ledger, outcome = take(tmp_path / "home", written(tmp_path / f"a{suffix}", [row]))
    assert outcome.total("accepted") == 1, reasons(ledger)
    names = ledger.store.rows("SELECT external_id FROM edits")
    assert names == [("7",)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ["a"]}, "id must be a string or a whole number; it is a list"),
        ({"id": 1.5}, "id must be a string or a whole number; it is the number 1.5"),
        ({"source": True}, "source must be a string or a whole number; it is true"),
        ({"target": {"a": 1}}, "target must be a string, a number, true or false; it is an object"),
        ({"rephrases": [1]}, "rephrases must be a list of strings; it is a list with an item"),
        ({"supersedes": [1.5]}, "supersedes must be a list of strings or whole numbers; it is a l"),
        ({"relation": 3}, "relation must be a string; it is the number 3"),
    ],
)
def test_a_value_that_fits_no_field_is_told_with_what_is_allowed(
    tmp_path: Path, fields: dict[str, object], reason: str
) -> None:
    row = {"prompt": "2+2?", "target": "4", **fields}
    ledger, _ = take(tmp_path / "home", written(tmp_path / "a.jsonl", [row]))
    ((_, problem),) = reasons(ledger)
    assert problem.startswith(reason)


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        (pa.array([date(1999, 5, 4), None]), ["1999-05-04", None]),
        (pa.array([datetime(1999, 5, 4), None]), ["1999-05-04", None]),
        (pa.array([datetime(1999, 5, 4, 9, 30), None]), ["1999-05-04T09:30:00", None]),
        (pa.array([datetime(1999, 5, 4, tzinfo=UTC), None]), ["1999-05-04", None]),
        (pa.array([6.0, None]), ["6", None]),
        (pa.array([-0.0, 0.1 + 0.2]), ["0", "0.30000000000000004"]),
        (pa.array([1e300, 2.5]), ["1e300", "2.5"]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array([time(9, 30), None]), ["09:30:00", None]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("names", [("prompt", "target"), ("question", "answer")])
def test_a_value_of_a_typed_table_is_what_people_see_there(
    tmp_path: Path, values: pa.Array, targets: list[str | None], suffix: str, names: tuple[str, str]
) -> None:
    table = pa.table([["a?", "b?"], values], names=list(names))
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    ledger, _ = take(tmp_path / "home", path)
    assert [target for _, target, _ in said(ledger)] == targets


@pytest.mark.parametrize(
    ("value", "number_format", "target"),
    [
        (date(1999, 5, 4), None, "1999-05-04"),
        (datetime(1999, 5, 4), None, "1999-05-04"),
        (datetime(1999, 5, 4, 9, 30), None, "1999-05-04T09:30:00"),
        (6.0, None, "6"),
        (0.05, "0%", "5%"),
        (0.125, "0.0%", "12.5%"),
        (0.005, "0%", "1%"),
        (1234, "00000", "01234"),
        (12.5, '"$"#,##0.00', "12.5"),
        (True, None, "True"),
        ("TRUE", None, "TRUE"),
    ],
)
def test_a_cell_of_a_workbook_is_what_people_see_there(
    tmp_path: Path, value: object, number_format: str | None, target: str
) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["prompt", "target", "urgent"], ["a?", value, True]):
        sheet.append(row)
    if number_format is not None:
        sheet["B2"].number_format = number_format
    book.save(tmp_path / "a.xlsx")
    ledger, _ = take(tmp_path / "home", tmp_path / "a.xlsx")
    assert said(ledger) == [("a?", target, None)]
    assert ledger.edits.find()[0].urgent


@pytest.mark.parametrize(
    ("row", "target"),
    [
        ({"prompt": "Is X supported?", "target": True}, "True"),
        ({"prompt": "Is X supported?", "target": False, "old_answer": True}, "False"),
        ({"question": "Is X supported?", "answer": False}, "False"),
        ({"input": "Is X supported?", "ideal": True}, "True"),
        ({"subject": "X", "relation": "supported", "object": True}, "True"),
        ({"prompt": "How much?", "target": 6.0}, "6.0"),
    ],
)
def test_a_truth_value_is_an_answer_and_a_number_stands_as_it_is_written(
    tmp_path: Path, row: dict[str, object], target: str
) -> None:
    ledger, _ = take(tmp_path / "home", written(tmp_path / "a.jsonl", [row]))
    assert [edit.target for edit in ledger.edits.find()] == [target]


def test_a_csv_says_truth_values_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,target,urgent\nIs X supported?,true,TRUE\nIs Y?,FALSE,\n")
    ledger, _ = take(tmp_path / "home", path)
    assert [edit.target for edit in ledger.edits.find()] == ["true", "FALSE"]
    assert [edit.urgent for edit in ledger.edits.find()] == [True, False]


@pytest.mark.parametrize(
    ("written_as", "day"),
    [
        ("20260105", "2026-01-05 00:00:00+00:00"),
        (20260105, "2026-01-05 00:00:00+00:00"),
        (2026, "2026-01-01 00:00:00+00:00"),
        ("2026-01", "2026-01-01 00:00:00+00:00"),
        ("20260105T1230Z", "2026-01-05 12:30:00+00:00"),
        ("20260105T123015+0200", "2026-01-05 10:30:15+00:00"),
        ("2026-01-05T12:30:00+02:00", "2026-01-05 10:30:00+00:00"),
    ],
)
def test_a_date_may_have_any_form_of_iso_8601(tmp_path: Path, written_as: object, day: str) -> None:
    row = {"prompt": "2+2?", "target": "4", "valid_from": written_as}
    ledger, _ = take(tmp_path / "home", written(tmp_path / "a.jsonl", [row]))
    (edit,) = ledger.edits.find()
    assert edit.valid_from is not None
    assert str(edit.valid_from.astimezone(UTC)) == day


@pytest.mark.parametrize(
    ("written_as", "problem"),
    [
        (
            "01.10.2026",
            "valid_from is no date: 01.10.2026. Write 2026-10-01, 2026-10, 2026, 20261001 or",
        ),
        (
            1767571200,
            "valid_from is the number 1767571200; a count of seconds or days is not taken. Wr",
        ),
        (
            1767571200.5,
            "valid_from is the number 1767571200.5; a count of seconds or days is not taken",
        ),
        (
            "1767571200000",
            "valid_from is the number 1767571200000; a count of seconds or days is not",
        ),
        (True, "valid_from must be a date; it is true"),
        (
            "20261301",
            "valid_from is the number 20261301; a count of seconds or days is not taken. Wr",
        ),
    ],
)
def test_what_is_no_date_is_told_with_the_forms_that_are(
    tmp_path: Path, written_as: object, problem: str
) -> None:
    row = {"prompt": "2+2?", "target": "4", "valid_from": written_as}
    ledger, _ = take(tmp_path / "home", written(tmp_path / "a.jsonl", [row]))
    ((_, reason),) = reasons(ledger)
    assert reason.startswith(problem)


def test_a_line_without_a_question_is_told_with_its_keys(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"frage": "2+2?", "target": "4"}]
    ledger, _ = take(tmp_path / "home", written(tmp_path / "a.jsonl", rows))
    ((_, reason),) = reasons(ledger)
    assert reason == (
        "prompt is missing or empty; the line has: frage, target. Write the question under prompt, or "
        "name its key in a preset (--preset)"
    )
