"""Hugging Face `datasets`: rows with the usual columns, from Parquet, Arrow, JSON lines or tables.

https://huggingface.co/docs/trl/dataset_formats (prompt, completion, chosen, rejected; texts or
conversations), SQuAD (`answers.text`) and Alpaca (instruction, input, output). Read November 2026.
`rejected` is what the model said, and so is `response`, or `answer` beside a name that says of its answer
that it is the right one, as `ground_truth`, in rows too where nothing stands under that name. Fields that
a report may have besides keep their meaning.
"""

from __future__ import annotations

from typing import Any

from tasks.ingest.shapes.shape import Fields, Row, Shape
from tasks.ingest.shapes.values import (
    RIGHT_NAMES,
    Answer,
    Prompt,
    answer_in,
    conversation,
    messages,
    names_in,
    question_in,
    report,
    with_names,
)

QUESTIONS = ("prompt", "question", "instruction")
ASKED = ("query", "user_input", "input")  # questions, where the right answer is named as such
USUAL = ("completion", "answer", "answers", "best_answer", "output")
RIGHT = ("target", "chosen", *RIGHT_NAMES, *USUAL, "reference")
NAMED_RIGHT = tuple(name for name in RIGHT if name not in USUAL)
SAID = tuple(
    (
        "rejected old_answer response actual_output prediction model_answer model_response "
        "generated_answer generated_response predicted_answer predicted_response"
    ).split()
)
BESIDE = tuple(
    (
        "id subject aliases rephrases locality source valid_from valid_to reported_at supersedes "
        "urgent"
    ).split()
)
COLUMNS = (*QUESTIONS, *ASKED, *RIGHT, *SAID, *BESIDE)


def _recognises(row: Row) -> bool:
    names = names_in(row, COLUMNS)
    if "target_new" in row:  # of KnowEdit and EasyEdit, whose `ground_truth` is the old answer
        return False
    asks = any(name in names for name in QUESTIONS)
    answers = any(name in names for name in RIGHT if name != "output" or "instruction" in names)
    expects = any(name in names for name in (*RIGHT_NAMES, "reference"))
    return (
        (asks and answers)
        or (expects and any(name in names for name in ASKED))
        or ("chosen" in names and "rejected" in names)
    )


def _report(row: Row) -> Fields:
    row = with_names(row, COLUMNS)
    beside = {name: row[name] for name in BESIDE if row.get(name) not in (None, "", [])}
    right, said = (NAMED_RIGHT, (*SAID, *USUAL)) if _names_the_right_one(row) else (RIGHT, SAID)
    target, old_answer = _first(row, right), _first(row, said)
    return report(**beside, prompt=_question(row), target=target, old_answer=old_answer)


def _names_the_right_one(row: Row) -> bool:
    return any(name in row for name in RIGHT_NAMES)


def _first(row: Row, names: tuple[str, ...]) -> Answer | None:
    """The answer under the first of the names that has one."""
    answers = (_answer(row[name]) for name in names if name in row)
    return next((answer for answer in answers if answer is not None), None)


def _question(row: Row) -> Prompt | None:
    for name in (*QUESTIONS, *ASKED):
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
    reads="columns prompt/question/instruction and correct_answer, expected, chosen, answer, output",
    recognises=_recognises,
    report=_report,
    columns=COLUMNS,
    flat=True,
)
