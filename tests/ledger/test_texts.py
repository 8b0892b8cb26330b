"""One question is one question; what is no JSON, says a key twice or names nobody is held back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import Ledger, schema
from ledger.functions import questions, strict_json
from tests.ledger.support import by_target, report, state_of, take
from text import normalize_question


@pytest.mark.parametrize(
    ("prompt", "other"),
    [
        ("诺威克的负责人是谁？", "诺威克的负责人是谁"),
        ("¿Quién dirige Norvik?", "Quién dirige Norvik"),
        ("Who leads Norvik Labs?", "Who leads\u00a0Norvik Labs?"),
        ("ışık nerede?", "Işık nerede?"),
        ("Wo ist die Straße?", "Wo ist die STRASSE?"),
        ("من يقود نورفيك؟", "من يقود نورفيك"),
        ("Ｗｈｏ leads?", "who leads"),
    ],
)
def test_one_question_with_two_answers_is_a_contradiction_in_every_script(
    ledger: Ledger, prompt: str, other: str
) -> None:
    take(ledger, [report(prompt, "A", source="a"), report(other, "B", source="b")])
    assert {(edit.prompt, edit.hold) for edit in ledger.edits.find()} == {
        (prompt, "contradiction"),
        (other, "contradiction"),
    }
    take(ledger, [report(other, "A", source="c")])
    assert (state_of(ledger, "A"), state_of(ledger, "B")) == ("ready", "superseded")
    assert by_target(ledger)["A"].reported == 2


@pytest.mark.parametrize(
    ("line", "hold"),
    [
        ('{"prompt": "How many?", "target": NaN}', "answer"),
        ('{"prompt": "How many?", "target": "NaN"}', "answer"),
        ('{"prompt": "How many?", "target": " nan "}', "answer"),
        ('{"prompt": "How many?", "target": "7", "subject": NaN, "rephrases": null}', None),
        ('{"prompt": "How many?", "target": "7", "note": {"x": [1, NaN]}}', None),
    ],
)
def test_nan_counts_as_missing(ledger: Ledger, line: str, hold: str | None) -> None:
    take(ledger, [line])
    (edit,) = ledger.edits.find()
    assert (edit.hold, edit.target, edit.subject) == (hold, None if hold else "7", None)
    assert ledger.edits.raw_lines(edit.id)[0][3] == line


def test_nan_inside_nested_values_is_missing_there(ledger: Ledger) -> None:
    take(
        ledger,
        [
            '{"prompt": "Is it: NaN?", "target": "x", "rephrases": ["NaN", "So?"], "locality":'
            ' [{"prompt": "q", "answer": NaN}, {"prompt": "r", "answer": "nan"}]}'
        ],
    )
    (edit,) = ledger.edits.find()
    assert edit.prompt == "Is it: NaN?"
    assert edit.rephrases == ("So?",)
    assert [(around.prompt, around.answer) for around in edit.locality] == [
        ("q", None),
        ("r", None),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "How many?", "target": Infinity}', "Infinity is no JSON value"),
        ('{"prompt": "How many?", "target": -Infinity}', "-Infinity is no JSON value"),
        ('{"prompt": "How?", "target": "x", "n": {"deep": [Infinity]}}', "Infinity is no JSON"),
        ('{"prompt": "How many?", "target": nan}', "not a JSON object"),
        ('{"prompt": "How many?", "target": inf}', "not a JSON object"),
        ('{"prompt": "How many?", "target": "-inf"}', "target is -inf, which is no answer"),
        ('{"prompt": NaN, "target": "x"}', "prompt is missing"),
        ('{"prompt": "a?", "target": "x", "target": "y"}', 'the key "target" comes twice'),
        ('{"prompt": "a?", "target": "x", "note": 1, "note": 1}', 'the key "note" comes twice'),
        ('{"prompt": "a?", "target": "x", "t\\u0061rget": "y"}', 'the key "target" comes twice'),
        (
            '{"prompt": "a?", "target": "x", "locality": [{"prompt": "q", "prompt": "r"}]}',
            'the key "prompt" comes twice',
        ),
        (
            '{"prompt": "Who is the PM of the UK?", "target": "x", "subject": "United Kingdom"}',
            'subject "United Kingdom" is not in the prompt, nor is an alias',
        ),
        ('{"prompt": "上海的市长是谁", "target": "x", "subject": "北京"}', "is not in the prompt"),
        ('{"prompt": "Who leads it?", "target": "x", "subject": "Norvik"}', "is not in the prompt"),
    ],
)
def test_what_can_be_read_in_two_ways_or_names_nobody_is_quarantined(
    ledger: Ledger, line: str, reason: str
) -> None:
    assert take(ledger, [line, report("b?")]).quarantined == 1
    (kept,) = ledger.quarantine.find()
    assert (kept.raw, kept.line) == (line, 1)
    assert reason in kept.reason


@pytest.mark.parametrize(
    "row",
    [
        report("诺维克的负责人是谁？", subject="诺维克"),
        report("Кто руководит Норвиком?", subject="Норвик"),
        report("Missä on Tampereen toimisto?", subject="Tampere"),
        report("Who is the PM of the UK?", subject="United Kingdom", aliases=["UK"]),
        report("Who leads {}?", subject="Norvik"),
        {"subject": "France", "relation": "capital", "object": "Paris"},
    ],
)
def test_a_subject_in_another_form_is_let_through(ledger: Ledger, row: dict[str, object]) -> None:
    assert take(ledger, [row]).accepted == 1


def test_json_without_nan_is_left_as_it_is() -> None:
    text = '{"a": "so: NaN, \\"NaN\\"", "b": [1.0, NaN,NaN], "c": 1e400}'
    assert strict_json(text) == text.replace("[1.0, NaN,NaN]", "[1.0, null,null]")
    assert strict_json('{"a": "NaN"}') == '{"a": "NaN"}'


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger that was made by the rule before."""
    path = tmp_path / "old.duckdb"
    every = schema.migrations()
    since = "".join(
        sql for number, sql in every if number > 7
    )  # tables of later releases, taken out again
    rows = [
        report("诺威克的负责人是谁？", "李"),
        report("诺威克的负责人是谁", "王"),
        report("¿Quién dirige Norvik?", "Ada"),
        report("Quién dirige Norvik", "Ada"),
        report("Who leads Norvik?", "Kim", rephrases=["Norvik？", "Wer？"]),
        {"subject": "Straße", "relation": "owner", "object": "Bo"},
    ]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations", lambda: (*every[:6], (6, since)))
        patched.setattr("ledger.functions.normalize_question", _before)
        patched.setattr("ledger.staging.IDENTITIES", "(SELECT NULL AS identity, NULL AS edit_id)")
        with Ledger.open(path) as ledger:
            take(ledger, rows)
            assert len(ledger.edits.find(state="ready")) == len(rows)
    with duckdb.connect(str(path)) as con:
        con.execute("ALTER TABLE edits DROP COLUMN messages")
        for table in re.findall(r"CREATE TABLE (\w+)", since):
            con.execute(f"DROP TABLE {table}")
    return path


def _before(text: str) -> str:
    return " ".join(text.lower().split(" ")).rstrip(" ?.!:")


def test_a_ledger_made_by_an_older_rule_gets_todays_keys(old: Path) -> None:
    with Ledger.open(old) as ledger:
        ids = {edit.prompt: edit.id for edit in ledger.edits.find()}
        again = [
            report("诺威克的负责人是谁。", "李"),
            report("Quién dirige Norvik？", "Ada"),
            report("¡Who leads Norvik!", "Kim"),
        ]
        assert take(ledger, again).duplicates == 3
        reported = {edit.prompt: edit.reported for edit in ledger.edits.find()}
        assert {edit.prompt: edit.id for edit in ledger.edits.find()} == ids
        assert reported["诺威克的负责人是谁？"] == 2
        assert reported["¿Quién dirige Norvik?"] + reported["Quién dirige Norvik"] == 3
        take(
            ledger,
            [
                report("Wer?", "Eva", source="x"),
                {"subject": "STRASSE", "relation": "owner", "object": "Cy"},
            ],
        )
        assert state_of(ledger, "Eva") == "held"
        assert state_of(ledger, "Bo") == "superseded"
        assert ledger.audit() == []


def test_contradictions_that_todays_rule_finds_are_settled_before_the_next_plan(old: Path) -> None:
    from ledger import IntakeRules

    with Ledger.open(old) as ledger:
        ledger.review.come_due(IntakeRules())
        assert (state_of(ledger, "王"), state_of(ledger, "李")) == ("ready", "superseded")
        assert [conflict.rule for conflict in ledger.conflicts.find()] == ["newest"]
        ledger.review.come_due(IntakeRules())
        assert len(ledger.conflicts.find()) == 1
        assert ledger.audit() == []


@settings(deadline=None)
@given(
    st.lists(
        st.none() | st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from(" ?!.\"'[( aB"))
    )
)
def test_sql_compares_questions_by_the_same_rule(texts: list[str | None]) -> None:
    wanted = [None if text is None else normalize_question(text) for text in texts]
    column = pa.array(texts, pa.string())
    assert questions(column).to_pylist() == wanted
    assert questions(pa.chunked_array([column[:1], column[1:]])).to_pylist() == wanted


@pytest.mark.parametrize(
    "asked", ["!ping", "=1+1?", " !", "a \\ b", "tab\tinside", "end\n", "\u0007x"]
)
def test_a_conversation_may_ask_anything(ledger: Ledger, asked: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": asked}]
    take(ledger, [json.dumps({"prompt": messages, "target": "x"})])
    (edit,) = ledger.edits.find()
    assert edit.prompt == asked.strip().replace("\u0007", "")
