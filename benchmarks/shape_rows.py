"""Exports of other tools, made up, as large as wanted: rows as `docs/feedback.md` shows them.

Every row asks a question of its own, so that each report becomes an edit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NOW = "2026-11-21T10:00:00+00:00"


def _chat(number: int) -> list[Row]:
    return [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": _question(number)},
    ]


def _question(number: int) -> str:
    return f"Which company built the model {number * 7919 % 1_000_003} of series {number}?"


def _langfuse_score(number: int) -> Row:
    return {
        "id": f"score-{number}",
        "timestamp": NOW,
        "project_id": "p1",
        "environment": "production",
        "trace_id": f"trace-{number}",
        "observation_id": None,
        "name": "output",
        "value": None,
        "source": "ANNOTATION",
        "comment": "as every child knows",
        "data_type": "CORRECTION",
        "string_value": f"Volvo {number}",
        "metadata": {},
    }


def _langfuse_trace(number: int) -> Row:
    return {
        "id": f"trace-{number}",
        "timestamp": NOW,
        "name": "chat",
        "project_id": "p1",
        "environment": "production",
        "metadata": {"team": "sales"},
        "tags": ["web"],
        "input": json.dumps({"messages": _chat(number)}),
        "output": json.dumps({"role": "assistant", "content": "Fiat"}),
    }


def _langsmith_feedback(number: int) -> Row:
    return {
        "id": f"feedback-{number}",
        "created_at": NOW,
        "modified_at": NOW,
        "run_id": f"run-{number}",
        "trace_id": f"run-{number}",
        "key": "correctness",
        "score": 0,
        "value": None,
        "comment": "every child knows",
        "correction": {"answer": f"Volvo {number}"},
        "feedback_source": {"type": "app", "metadata": None},
        "session_id": "s1",
    }


def _langsmith_run(number: int) -> Row:
    return {
        "id": f"run-{number}",
        "name": "chat",
        "run_type": "chain",
        "start_time": NOW,
        "end_time": NOW,
        "inputs": {"messages": _chat(number)},
        "outputs": {"answer": "Fiat"},
        "session_id": "s1",
    }


def _mlflow(number: int) -> Row:
    expectation = {
        "assessment_id": f"a-{number}",
        "assessment_name": "expected_response",
        "valid": True,
        "source": {"source_type": "HUMAN", "source_id": "eva"},
        "create_time": NOW,
        "last_update_time": NOW,
        "expectation": {"value": f"Volvo {number}"},
    }
    span = {
        "span_id": "s1",
        "parent_span_id": None,
        "name": "chat",
        "attributes": {
            "mlflow.spanInputs": json.dumps({"messages": _chat(number)}),
            "mlflow.spanOutputs": json.dumps({"role": "assistant", "content": "Fiat"}),
        },
    }
    info = {
        "trace_id": f"tr-{number}",
        "request_preview": _question(number),
        "state": "OK",
        "assessments": [expectation],
    }
    return {"info": info, "data": {"spans": [span]}}


def _openai(number: int) -> Row:
    return {"messages": [*_chat(number), {"role": "assistant", "content": f"Volvo {number}"}]}


def _argilla(number: int) -> Row:
    return {
        "id": f"r{number}",
        "status": "completed",
        "prompt": _question(number),
        "response": "Fiat",
        "correction.responses": [f"Volvo {number}"],
        "correction.responses.users": ["u1"],
        "correction.responses.status": ["submitted"],
    }


def _hugging_face(number: int) -> Row:
    return {"prompt": _question(number), "chosen": f"Volvo {number}", "rejected": "Fiat"}


def _sharegpt(number: int) -> Row:
    turns = [("system", "Be brief."), ("human", _question(number)), ("gpt", f"Volvo {number}")]
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


# What a row is made by; where rows name others, those that are named.
SHAPES: dict[str, tuple[Callable[[int], Row], Callable[[int], Row] | None]] = {
    "langfuse": (_langfuse_score, _langfuse_trace),
    "langsmith": (_langsmith_feedback, _langsmith_run),
    "mlflow": (_mlflow, None),
    "openai": (_openai, None),
    "argilla": (_argilla, None),
    "hugging-face": (_hugging_face, None),
    "sharegpt": (_sharegpt, None),
}


def write_rows(folder: Path, shape: str, rows: int) -> int:
    """Write an export of so many rows into a folder; how many reports it holds."""
    judged, named = SHAPES[shape]
    reports = rows if named is None else rows // 2
    _write(folder / "reports.jsonl", (judged(number) for number in range(reports)))
    if named is not None:
        _write(folder / "named.jsonl", (named(number) for number in range(rows - reports)))
    return reports


def _write(path: Path, rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
