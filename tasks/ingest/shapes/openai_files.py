"""OpenAI: fine-tuning files and items of evals.

https://developers.openai.com/api/docs/guides/supervised-fine-tuning (`messages`), .../
direct-preference-optimization (`input.messages`, `preferred_output`, `non_preferred_output`),
/api/docs/guides/evals (`item`, `sample`; openai 2.x `EvalJSONLFileContentSource`), and samples of
https://github.com/openai/evals (`input`, `ideal`). Read November 2026.

Of a conversation the last message of the assistant is the right answer; one with `weight` 0 is not
meant to be learned. The conversation before it is the prompt. Where the right answer stands beside the
conversation (`ideal`), the last message of the assistant is what the model said.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.ingest.shapes.shape import Fields, Row, Shape, Unusable
from tasks.ingest.shapes.values import (
    ANSWER_NAMES,
    QUESTION_NAMES,
    RIGHT_NAMES,
    Answer,
    answer_in,
    conversation,
    last_answer,
    messages,
    name_of,
    named,
    question_in,
    report,
    text_of,
)

_IDEAL = ("ideal", "correct_label", "label")


def _recognises(row: Row) -> bool:
    return (
        isinstance(row.get("messages"), list)
        or "preferred_output" in row
        or isinstance(row.get("item"), dict)
        or ("input" in row and "ideal" in row)
    )


def _report(row: Row) -> Fields:
    if "preferred_output" in row:
        return report(
            prompt=question_in(row.get("input")),
            target=answer_in(row["preferred_output"]),
            old_answer=answer_in(row.get("non_preferred_output")),
        )
    if "messages" in row:
        return _trained(row)
    item = row["item"] if isinstance(row.get("item"), dict) else row
    return report(
        id=name_of(item.get("id")),
        prompt=named(item, QUESTION_NAMES, question_in),
        target=_right(item, (*_IDEAL, *ANSWER_NAMES[:-2])),
        old_answer=answer_in(row.get("sample")),
    )


def _right(item: Row, names: Sequence[str]) -> Answer | None:
    """The right answer of an item; of several that are right the first."""

    def first(value: object) -> Answer | None:
        return answer_in(value[0] if isinstance(value, list) and value else value)

    right: Answer | None = named(item, names, first)
    return right


def _trained(row: Row) -> Fields:
    turns = messages(row["messages"])
    if turns is None:
        raise Unusable("a message has no role or no content")
    if any(turn["role"] in ("tool", "function") for turn in turns):
        raise Unusable("the answer rests on what a tool returned, which no edit can know")
    if (ideal := _right(row, ("ideal", "target", *RIGHT_NAMES))) is not None:
        last = next((n for n, t in enumerate(reversed(turns)) if t["role"] == "user"), len(turns))
        return report(
            id=name_of(row.get("id")),
            prompt=conversation(turns),
            target=ideal,
            old_answer=last_answer(turns[len(turns) - last :]),
        )
    for place in range(len(turns), 0, -1):
        if (
            turns[place - 1]["role"] == "assistant"
            and row["messages"][place - 1].get("weight") != 0
        ):
            right = text_of(turns[place - 1]["content"])
            return report(
                id=name_of(row.get("id")),
                prompt=conversation(turns[: place - 1]),
                target=right,
                old_answer=last_answer(messages(row.get("rejected_messages")) or ()),
            )
    return report(id=name_of(row.get("id")), prompt=conversation(turns), target=None)


SHAPE = Shape(
    name="openai",
    tool="OpenAI",
    reads="chat and preference fine-tuning files, items of evals",
    recognises=_recognises,
    report=_report,
    columns=("messages", "input", "preferred_output", "non_preferred_output", "item", "ideal"),
)
