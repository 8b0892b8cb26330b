"""What a number among feedback means: told by its scale or its name, else it says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest.shapes.values import Scale, answer_in, judgement
from tests.tasks.shapes.shape_support import reasons, said, take


@pytest.mark.parametrize(
    ("value", "name", "scale", "meaning"),
    [
        (False, "x", None, False),
        (True, "x", None, True),
        ("wrong", "x", None, False),
        ("Thumbs Up", "x", None, True),
        ("so so", "x", None, None),
        (None, "x", None, None),
        (0, "toxicity", None, None),
        (-0.4, "sentiment", None, None),
        (1, "toxicity", None, None),
        ("0", "toxicity", None, None),
        (0, "user-feedback", None, False),
        (1, "user_score", None, True),
        (-1, "thumbs", None, False),
        (2, "thumbs", None, None),
        (0, "correctness", None, False),
        (0, "incorrectness", None, None),
        (2, "stars", (1, 5), False),
        (3, "stars", (1, 5), None),
        (4, "stars", (1, 5), True),
        (9, "stars", (1, 5), None),
        (0, "balance", (-1, 1), None),
        (-0.2, "balance", (-1, 1), False),
        (float("nan"), "thumbs", None, None),
        ("-1", "thumb", None, False),
        ([], "thumbs", None, None),
    ],
)
def test_a_number_counts_by_its_scale_or_its_name_alone(
    value: Any, name: str, scale: Scale | None, meaning: bool | None
) -> None:
    assert judgement(value, name, scale) is meaning


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"role": "assistant", "content": ""}, None),
        ({"role": "assistant", "content": "4"}, "4"),
        ({"choices": [{"message": {"role": "assistant", "content": None}}]}, None),
        ({"anything": "4"}, "4"),
        ({"id": "x", "anything": "4"}, None),
    ],
)
def test_an_answer_that_is_empty_is_none(value: Any, text: str | None) -> None:
    assert answer_in(value) == text


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "traceId": f"t{number}",
        "dataType": "NUMERIC",
        "source": "API",
        "configId": None,
        **more,
    }


def trace(number: int) -> dict[str, Any]:
    return {"id": f"t{number}", "input": f"Question {number}?", "output": "no", "projectId": "p"}


def test_langfuse_scores_are_read_by_their_config_from_a_file_beside_them(tmp_path: Path) -> None:
    scores = [
        score(1, name="toxicity", value=0),
        score(2, name="stars", value=2, configId="c1"),
        score(3, name="stars", value=5, configId="c1"),
        score(4, name="stars", value=1, configId="c9"),
        score(5, name="user-feedback", value=0, comment="should be 5"),
        score(6, name="ok", value=0, dataType="BOOLEAN"),
        score(7, name="depth", value=-3, config={"minValue": -5, "maxValue": 5}),
    ]
    config = {
        "id": "c1",
        "name": "stars",
        "dataType": "NUMERIC",
        "isArchived": False,
        "minValue": 1,
        "maxValue": 5,
    }
    ledger, outcome = take(
        tmp_path / "home",
        lines(tmp_path / "scores.jsonl", scores),
        lines(tmp_path / "traces.jsonl", [trace(n) for n in range(1, 8)]),
        lines(tmp_path / "configs.jsonl", [config]),
    )
    assert [prompt for prompt, _, _ in said(ledger)] == [f"Question {n}?" for n in (2, 5, 6, 7)]
    assert {question.prompt: question.proposals for question in ledger.triage.unanswered()}[
        "Question 5?"
    ] == (("5", 1),)
    assert outcome.total("lines") == 15
    assert outcome.total("passed_over") == 11
    assert sum("configuration of a score" in reason for _, reason in reasons(ledger)) == 1


def test_langsmith_scores_are_read_by_their_feedback_config(tmp_path: Path) -> None:
    categories = {
        "type": "categorical",
        "categories": [{"value": 7, "label": "wrong"}, {"value": 0, "label": "right"}],
    }
    feedback = [
        {"id": "f1", "run_id": "r1", "key": "toxicity", "score": 0},
        {
            "id": "f2",
            "run_id": "r2",
            "key": "stars",
            "score": 1,
            "feedback_config": {"type": "continuous", "min": 0, "max": 5},
        },
        {"id": "f3", "run_id": "r3", "key": "kind", "score": 7, "feedback_config": categories},
        {"id": "f4", "run_id": "r4", "key": "kind", "score": 0, "feedback_config": categories},
        {"id": "f5", "run_id": "r5", "key": "user_score", "score": 0},
    ]
    runs = [
        {
            "id": f"r{n}",
            "run_type": "chain",
            "inputs": {"question": f"Question {n}?"},
            "outputs": {"answer": "no"},
        }
        for n in range(1, 6)
    ]
    ledger, _ = take(
        tmp_path / "home",
        lines(tmp_path / "feedback.jsonl", feedback),
        lines(tmp_path / "runs.jsonl", runs),
    )
    assert [prompt for prompt, _, _ in said(ledger)] == [
        "Question 2?",
        "Question 3?",
        "Question 5?",
    ]
