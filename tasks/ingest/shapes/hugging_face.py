"""Hugging Face `datasets`: rows with the usual columns, from Parquet, Arrow, JSON lines or tables.

https://huggingface.co/docs/trl/dataset_formats (prompt, completion, chosen, rejected; texts or
conversations), SQuAD (`answers.text`) and Alpaca (instruction, input, output). Read November 2026.
`rejected` is what the model said. Fields that a report may have besides keep their meaning.
"""

from __future__ import annotations

from typing import Any

from tasks.ingest.shapes.shape import Fields, Row, Shape
from tasks.ingest.shapes.values import (
    Answer,
    Prompt,
    answer_in,
    conversation,
    messages,
    question_in,
    report,
)

QUESTIONS = ("prompt", "question", "instruction")
RIGHT = ("target", "chosen", "completion", "answer", "answers", "best_answer", "output")
BESIDE = tuple(
    (
        "id subject aliases rephrases locality source valid_from valid_to reported_at supersedes "
        "urgent old_answer"
    ).split()
)


def _recognises(row: Row) -> bool:
    asks = any(name in row for name in QUESTIONS)
    answers = any(name in row for name in RIGHT if name != "output" or "instruction" in row)
    return (asks and answers) or ("chosen" in row and "rejected" in row)


def _report(row: Row) -> Fields:
    beside = {name: row[name] for name in BESIDE if row.get(name) not in (None, "", [])}
    rejected = _answer(row.get("rejected"))
    old = beside.pop("old_answer", None) if rejected is None else rejected
    right = (_answer(row[name]) for name in RIGHT if name in row)
    return report(
        **beside,
        prompt=_question(row),
        target=next((answer for answer in right if answer is not None), None),
        old_answer=old,
    )


def _question(row: Row) -> Prompt | None:
    for name in QUESTIONS:
        value = row.get(name)
        if prompt := value if isinstance(value, str) else question_in(value):
            more = row.get("input") if name == "instruction" else None
            if isinstance(more, str) and more.strip() and isinstance(prompt, str):
                return f"{prompt}\n{more}"
            return prompt
    turns = messages(row.get("chosen"))  # the question may stand in the conversation alone
    return conversation(turns) if turns else None


def _answer(value: Any) -> Answer | None:
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        value = value[0]
    return value or None if isinstance(value, str) else answer_in(value)


SHAPE = Shape(
    name="hugging-face",
    tool="Hugging Face datasets",
    reads="columns prompt/question/instruction and chosen/rejected, completion, answer, output",
    recognises=_recognises,
    report=_report,
    columns=(*QUESTIONS, *RIGHT, "rejected", "input", *BESIDE),
)
