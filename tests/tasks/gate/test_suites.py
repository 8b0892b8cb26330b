"""Suites on disk: read, checked, written; a bad one is kept with its problem."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.gate import Expectation, SuiteError, add_suite, load_suites
from tasks.gate.suites.files import load_suite, merged

ROWS = [{"prompt": "who leads it ?", "value": "ada"}, {"prompt": "what is it ?", "value": "red"}]


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_a_header_says_what_all_probes_share_and_a_probe_may_differ(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("expect: exact\nsource: desk\nprobes: 3\n")
    lines(tmp_path / "mine.jsonl", [*ROWS, {"prompt": "x", "expect": "regex", "value": "^a"}])
    (suite,) = load_suites(tmp_path)
    assert (suite.name, suite.source, suite.problem) == ("mine", "desk", "")
    assert [p.expect.kind for p in suite.probes] == ["exact", "exact", "regex"]
    assert suite.probes[0].expect == Expectation("exact", "ada")


def test_a_file_of_questions_with_answers_and_no_header_expects_them_unchanged(tmp_path: Path):
    lines(tmp_path / "locality.jsonl", [{"prompt": "what is it ?", "answer": "Paris"}])
    (suite,) = load_suites(tmp_path)
    assert suite.probes[0].expect == Expectation("unchanged", "Paris")


def test_parquet_is_read_like_json_lines(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "mine.parquet")
    (tmp_path / "mine.yaml").write_text("expect: contains\n")
    assert [p.expect.value for p in load_suites(tmp_path)[0].probes] == ["ada", "red"]


def test_further_text_fields_become_slices(tmp_path: Path):
    lines(tmp_path / "mine.jsonl", [{"prompt": "x", "relation": "leads", "weight": 3}])
    assert load_suites(tmp_path)[0].probes[0].slices == {"relation": "leads"}


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ("probes: 2\n", "", "holds no probe"),
        ("probes: 2\n", '{"prompt": "x"}\n', "holds 1 probes, its header says 2"),
        ("probes: 2\n", None, "neither mine.jsonl nor mine.parquet"),
        ("expect: exact\n", '{"prompt": "x"}\n', 'expects "exact" of nothing'),
        ("expect: guess\n", '{"prompt": "x"}\n', 'expects "guess"'),
        ("expect: regex\nvalue: '('\n", '{"prompt": "x"}\n', "no regular expression"),
        ("expect: metric\nmetric: bleu9\n", '{"prompt": "x"}\n', 'no metric "bleu9"'),
        ("purpose: fun\n", '{"prompt": "x"}\n', 'purpose is "fun"'),
        ("colour: red\n", '{"prompt": "x"}\n', 'has "colour"'),
        ("- a\n", '{"prompt": "x"}\n', "holds no table"),
        ("", '{"prompt": "x"}\nnonsense\n', "line 2: no JSON object"),
        ("", '{"prompt": " "}\n', "probe 1: it has no prompt"),
        ("", '{"prompt": "x", "id": "a"}\n{"prompt": "y", "id": "a"}\n', "come twice"),
    ],
)
def test_a_suite_that_cannot_be_used_is_kept_with_its_problem(
    tmp_path: Path, header: str, data: str | None, said: str
):
    (tmp_path / "mine.yaml").write_text(header)
    if data is not None:
        (tmp_path / "mine.jsonl").write_text(data)
    assert said in load_suite(tmp_path, "mine").problem


def test_an_added_suite_comes_back_as_it_was(tmp_path: Path):
    added = add_suite(tmp_path, "mine", ROWS, {"expect": "exact", "source": "desk"})
    assert load_suites(tmp_path) == [added]
    assert "probes: 2" in (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("../mine", ROWS, "letters, digits"),
        ("mine", [], "would hold no probe"),
        ("mine", [{"prompt": "x"}], "probe 1"),
    ],
)
def test_a_suite_that_could_not_be_used_is_not_written(
    tmp_path: Path, name: str, rows: list[dict[str, object]], said: str
):
    with pytest.raises(SuiteError, match=said):
        add_suite(tmp_path, name, rows, {"expect": "exact"})
    assert not list(tmp_path.iterdir())


def test_a_suite_is_never_written_over(tmp_path: Path):
    add_suite(tmp_path, "mine", ROWS, {})
    with pytest.raises(SuiteError, match="there already"):
        add_suite(tmp_path, "mine", ROWS, {})


def test_suites_of_one_name_are_put_together_and_keep_a_problem(tmp_path: Path):
    good = add_suite(tmp_path, "locality", ROWS, {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "locality.jsonl").write_text("")
    (both,) = merged([good, *load_suites(tmp_path / "other")])
    assert len(both.probes) == 2
    assert "holds no probe" in both.problem


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path):
    (tmp_path / "suites").write_text("x")
    with pytest.raises(SuiteError, match="give the folder"):
        load_suites(tmp_path / "suites")
