"""Each tool's export in a real ledger, by value, with every row accounted for."""

from __future__ import annotations

import json
from pathlib import Path

from ledger import states
from tests.tasks.shapes.shape_support import edit_about, reasons, said, take


def test_langfuse_scores_find_their_traces_in_another_file(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "langfuse_scores.jsonl", "langfuse_traces.jsonl")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    edit = edit_about(ledger, "What is Norway's capital?")
    assert edit.messages == (("system", "You know Norway."), ("user", "What is Norway's capital?"))
    assert (edit.source, edit.external_id, str(edit.valid_from)[:10]) == (
        "langfuse",
        "score-1",
        "2026-11-21",
    )
    unanswered = edit_about(ledger, "Who leads Norvik Labs?")
    assert (unanswered.state, unanswered.hold) == (states.HELD, "answer")
    assert [outcome.total(n) for n in ("lines", "quarantined", "passed_over")] == [8, 6, 5]
    assert "trace-9 of this score is not in the files given" in dict(reasons(ledger)[:3])[5]
    raw = json.loads(ledger.edits.raw_lines(edit.id)[0][3])["raw"]
    assert raw["comment"] == "as every child knows"
    assert raw["about"]["metadata"] == {"team": "sales"}


def test_langfuse_scores_of_traces_find_the_root_observation_where_no_traces_are_exported(
    tmp_path: Path,
) -> None:
    observations = [
        {
            "id": "o2",
            "trace_id": "t1",
            "parent_observation_id": "o1",
            "input": "rewrite",
            "output": "x",
        },
        {
            "id": "o1",
            "trace_id": "t1",
            "parent_observation_id": None,
            "input": "Who leads Norvik Labs?",
        },
        {"id": "o3", "trace_id": "t2", "parent_observation_id": "", "input": None, "output": None},
        {"id": "o4", "trace_id": "t2", "input": "Who wrote Faust?", "output": "Schiller"},
        {"id": "t3", "environment": "default", "input": "Norway's capital?", "output": "Bergen"},
        {"id": "o5", "trace_id": "t3", "input": "a prompt template", "output": "Bergen"},
    ]
    scores = [
        {
            "id": f"s{n}",
            "trace_id": trace,
            "observation_id": None,
            "name": "output",
            "string_value": right,
            "data_type": "CORRECTION",
            "source": "ANNOTATION",
        }
        for n, (trace, right) in enumerate([("t1", "Ada Li"), ("t2", "Goethe"), ("t3", "Oslo")])
    ]
    files = {"observations_v2.jsonl": observations, "scores.jsonl": scores}
    for name, rows in files.items():
        (tmp_path / name).write_text(
            "".join(json.dumps({"output": None, "type": "SPAN"} | row) + "\n" for row in rows)
        )
    ledger, _ = take(tmp_path / "home", *(tmp_path / name for name in files))
    assert said(ledger) == [
        ("Who leads Norvik Labs?", "Ada Li", None),
        ("Who wrote Faust?", "Goethe", "Schiller"),
        ("Norway's capital?", "Oslo", "Bergen"),
    ]
    assert edit_about(ledger, "Who wrote Faust?").source == "langfuse"


def test_conversations_of_a_help_desk_are_none_of_sharegpt(tmp_path: Path) -> None:
    desk = {"type": "conversation.list", "conversations": [{"type": "conversation", "id": "9"}]}
    (tmp_path / "desk.json").write_text(json.dumps(desk))
    ledger, _ = take(tmp_path / "home", tmp_path / "desk.json")
    ((_, reason),) = reasons(ledger)
    assert "the line has: type, conversations" in reason


def test_langfuse_traces_of_the_api_carry_their_scores(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "langfuse_api.json")
    assert said(ledger) == [
        ("Which river runs through Vienna?", "The Danube", "The Rhine"),
        ("Who wrote Faust?", None, "Schiller"),
        ("When was Goethe born?", "1749", "1750"),
    ]
    assert outcome.total("lines") == 4
    assert reasons(ledger) == [
        (4, "nothing to correct: the trace has no score that is a correction or a thumbs-down")
    ]


def test_langsmith_feedback_finds_its_runs_in_another_file(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "langsmith_feedback.jsonl", "langsmith_runs.jsonl")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    assert edit_about(ledger, "Who leads Norvik Labs?").hold == "answer"
    assert [outcome.total(n) for n in ("lines", "quarantined", "passed_over")] == [8, 6, 5]
    assert "run-9 of this feedback is not in the files given" in dict(reasons(ledger)[:3])[5]


def test_langsmith_examples(tmp_path: Path) -> None:
    ledger, _ = take(tmp_path, "langsmith_examples.jsonl")
    assert said(ledger) == [
        ("Who wrote Faust?", "Goethe", None),
        ("2+2?", "4", None),
        ("Who painted Guernica?", None, None),
    ]
    assert edit_about(ledger, "2+2?").messages[0] == ("system", "Be brief.")
    assert [line for line, _ in reasons(ledger)] == [4]


def test_openai_fine_tuning_takes_what_is_to_be_learned(tmp_path: Path) -> None:
    ledger, _ = take(tmp_path, "openai_chat.jsonl")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", None),
        ("Who wrote Faust?", "Goethe", None),
        ("2+2?", "4", None),
        ("Who painted Guernica?", None, None),
    ]
    assert reasons(ledger) == [
        (5, "the answer rests on what a tool returned, which no edit can know")
    ]


def test_openai_preferences(tmp_path: Path) -> None:
    ledger, _ = take(tmp_path, "openai_preference.jsonl")
    assert said(ledger) == [("What is Norway's capital?", "Oslo", "Bergen")]
    ((line, reason),) = reasons(ledger)
    assert line == 2
    assert reason.startswith("no question is in the row where this shape keeps it; the row has: ")


def test_openai_evals(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "openai_evals.jsonl")
    assert said(ledger) == [
        ("Who wrote Faust?", "Goethe", "Schiller"),
        ("Where is Norvik Labs?", None, None),
        ("2+2?", "4", None),
    ]
    assert (outcome.total("passed_over"), outcome.total("quarantined")) == (1, 1)


def test_open_webui_feedback_with_its_chat(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "open_webui.json")
    assert said(ledger) == [
        ("Who leads Norvik Labs?", None, "Ada Li"),
        ("And its capital?", "Oslo", "Bergen"),
    ]
    assert [role for role, _ in edit_about(ledger, "And its capital?").messages] == [
        "user",
        "assistant",
        "user",
    ]
    unanswered = edit_about(ledger, "Who leads Norvik Labs?")
    raw = json.loads(ledger.edits.raw_lines(unanswered.id)[0][3])["raw"]
    assert raw["data"]["comment"] == "should be Bo Ek"
    assert (outcome.total("quarantined"), outcome.total("passed_over")) == (2, 1)
    assert "m2 that was judged is not in the snapshot" in reasons(ledger)[1][1]


def test_label_studio_takes_what_an_annotator_wrote(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path, "label_studio.json")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who wrote Faust?", "Goethe", "Schiller"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    assert (outcome.total("quarantined"), outcome.total("passed_over")) == (3, 2)
    line, reason = reasons(ledger)[2]
    assert line == 6
    assert reason.startswith(
        "no question is in the row where this shape keeps it; the row has: id,"
    )


def test_argilla_records_flat_and_nested(tmp_path: Path) -> None:
    ledger, outcome = take(tmp_path / "flat", "argilla_flat.jsonl")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", "Bergen"),
        ("Who leads Norvik Labs?", None, "Ada Li"),
    ]
    assert (outcome.total("quarantined"), outcome.total("passed_over")) == (3, 2)
    ledger, outcome = take(tmp_path / "nested", "argilla_records.json")
    assert said(ledger) == [("Who wrote Faust?", "Goethe", "Schiller")]
    assert outcome.total("passed_over") == 1


def test_sharegpt_takes_the_last_turn(tmp_path: Path) -> None:
    ledger, _ = take(tmp_path, "sharegpt.jsonl")
    assert said(ledger) == [
        ("What is Norway's capital?", "Oslo", None),
        ("Born when?", "1749", None),
        ("2+2?", "4", "5"),
        ("Who leads Norvik Labs?", None, None),
    ]
    assert edit_about(ledger, "Born when?").messages[0] == ("system", "Be brief.")
    assert reasons(ledger) == [(5, "a turn of the conversation has no `from` or no `value`")]
