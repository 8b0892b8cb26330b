"""Questions, answers and judgements in the forms in which tools keep them.

    {"messages": [{"role": "user", "content": "..."}]}     question_in  ──►  a text or a conversation
    {"choices": [{"message": {"content": "..."}}]}         answer_in    ──►  a text, number or truth
    false, "thumbs_down", 0 on a scale from 0 to 1         judgement    ──►  False

Tools keep inputs and outputs as JSON of any form, often as a text that holds JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from tasks.ingest.columns import Columns
from tasks.ingest.shapes.shape import Fields, NoQuestion, NothingToCorrect, Row, Unusable
from text import strict_json

Message: TypeAlias = dict[str, Any]  # {"role", "content"}
Prompt: TypeAlias = str | list[Message]
Answer: TypeAlias = str | int | float  # a truth value is an answer too, and an int

QUESTION_NAMES = tuple(
    "question prompt query instruction user_input input inputs request message text content".split()
)
ANSWER_NAMES = tuple(
    (
        "answer expected_response expected_answer expected_output correct_answer corrected_answer "
        "correction ideal ground_truth reference_answer reference target output outputs response "
        "completion generation generated_text result output_text content text"
    ).split()
)
# Names that say of an answer that it is the right one, though another answer stand beside it.
RIGHT_NAMES = tuple(
    (
        "correct_answer corrected_answer corrected correction expected expected_answer "
        "expected_output expectedOutput expected_response ideal ideal_answer ground_truth "
        "groundTruth gold gold_answer reference_answer"
    ).split()
)
ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "developer",
}
DOWN = {
    *"false no bad wrong incorrect inaccurate dislike negative fail failed".split(),
    *("thumbs_down", "thumbsdown", "thumbs down"),
}
UP = {
    *"true yes good right correct accurate like positive pass passed".split(),
    *("thumbs_up", "thumbsup", "thumbs up"),
}
# Scores that are named so are thumbs: 0 and -1 mean down, 1 means up, whatever else their tool allows.
THUMBS = re.compile(
    r"thumb|user[ _-]?(feedback|score|rating)|^(feedback|user)$|(?<!in)correct", re.IGNORECASE
)
Scale: TypeAlias = tuple[float, float]  # the least and the most that a score can be


def report(
    *, prompt: Prompt | None, target: Answer | None, old_answer: Answer | None = None, **more: Any
) -> Fields:
    """The fields of a report, those that are not known left out.

    Raises NoQuestion without a question, NothingToCorrect where the right answer is what was said.
    """
    if not prompt:
        raise NoQuestion("no question is in the row where this shape keeps it")
    alike = target == old_answer and isinstance(target, bool) == isinstance(old_answer, bool)
    if target is not None and alike:  # True is 1 in Python
        raise NothingToCorrect("the right answer is the one that the model gave")
    fields = {**more, "prompt": prompt, "target": target, "old_answer": old_answer}
    return {name: value for name, value in fields.items() if value is not None}


def name_of(value: Any) -> str | None:
    """An id as its text: a text, or a whole number; None where it is neither."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def opened(value: Any) -> Any:
    """The value of a text that holds a JSON object or list; every other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return strict_json.parse_leniently(value)
        except (ValueError, RecursionError):
            return value
    return value


def messages(value: Any) -> list[Message] | None:
    """A list of messages in any tool's form as {"role", "content"}; None where it is none."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # LangChain keeps a batch of one
    if not isinstance(value, list) or not value:
        return None
    parsed = [_message(item) for item in value]
    return None if None in parsed else [message for message in parsed if message is not None]


def _message(item: Any) -> Message | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("kwargs") or item.get("data")  # LangChain's two ways to write a message
    if isinstance(inner, dict) and "content" in inner:
        item = {"type": item.get("type"), **inner}
    role = item.get("role") or item.get("from") or item.get("type")
    content = item.get("content", item.get("value"))
    if not isinstance(role, str) or ("content" not in item and "value" not in item):
        return None
    if isinstance(content, list):
        content = [
            {"type": "text", "text": part["text"]}
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else part
            for part in content
        ]
    return {"role": ROLES.get(role.lower(), role), "content": content}


def conversation(turns: Sequence[Message]) -> Prompt | None:
    """Messages up to the last one of the user: a text where it is a single text."""
    end = next((n for n in range(len(turns), 0, -1) if turns[n - 1]["role"] == "user"), 0)
    if end == 1 and isinstance(turns[0]["content"], str):
        return turns[0]["content"]
    return list(turns[:end]) or None


def question_in(value: Any) -> Prompt | None:
    """The question in an input of any form."""
    if isinstance(value, str):
        inner = opened(value)
        question = None if inner is value else question_in(inner)
        return question or (value if value.strip() else None)
    if isinstance(value, list):
        turns = messages(value)
        return conversation(turns) if turns else None
    if not isinstance(value, dict):
        return None
    if turns := messages(value.get("messages")):
        return conversation(turns)
    return named(value, QUESTION_NAMES, question_in) or _only_text(value)


def answer_in(value: Any) -> Answer | None:
    """The answer in an output of any form; of a conversation what the assistant said last."""
    inner = opened(value)
    if isinstance(inner, str):
        return inner if inner.strip() else None
    if isinstance(inner, int | float):
        return inner
    answer: Answer | None = None
    if isinstance(inner, list):
        turns = messages(inner)
        answer = last_answer(turns) if turns else answer_in(inner[0]) if len(inner) == 1 else None
    elif isinstance(inner, dict):
        for name in ("choices", "generations"):
            if isinstance(inner.get(name), list) and inner[name]:
                return answer_in(inner[name][0])
        turns = messages(inner.get("messages"))
        answer = last_answer(turns) if turns else None
        answer = answer or answer_in(inner.get("message")) or named(inner, ANSWER_NAMES, answer_in)
        answer = answer or _only_text(inner)
    return value if answer is None and isinstance(value, str) else answer


def last_answer(turns: Sequence[Message]) -> str | None:
    """What the assistant said last in a conversation."""
    for turn in reversed(turns):
        if turn["role"] == "assistant" and (text := text_of(turn["content"])):
            return text
    return None


def text_of(content: Any) -> str | None:
    """The text of a message's content, a text or a list of parts of type text."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        return "".join(str(part) for part in parts) if all(parts) else None
    return content if isinstance(content, str) and content.strip() else None


def with_names(row: Row, names: tuple[str, ...]) -> Row:
    """A row with those of its keys that are written otherwise under these names, as a header is read.

    A key that is one of the names as it stands goes before others. Raises Unusable where two others mean
    the same.
    """
    keys = tuple(row)
    meant = _meant(keys, names)
    if meant == keys:
        return row
    renamed = {name: row[key] for key, name in zip(keys, meant, strict=True) if name != key}
    if len(renamed) < sum(name != key for key, name in zip(keys, meant, strict=True)):
        twice = next(name for name in meant if meant.count(name) > 1)
        raise Unusable(f'two keys of the row mean "{twice}"; keep one')
    return {**renamed, **{k: row[k] for k, name in zip(keys, meant, strict=True) if k == name}}


def names_in(row: Row, names: tuple[str, ...]) -> set[str]:
    """Which of the names a row has, however its keys are written."""
    return set(_meant(tuple(row), names)) & set(names)


@lru_cache(4096)
def _meant(keys: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(Columns(names, frozenset()).named(keys))


def named(value: Mapping[str, Any], names: Sequence[str], read: Callable[[Any], Any]) -> Any:
    """What is read under the first of the names that holds something, in any case."""
    by_form = {name.casefold(): name for name in reversed(list(value))}
    for name in names:
        if name in by_form and (content := read(value[by_form[name]])) is not None:
            return content
    return None


def _only_text(value: Mapping[str, Any]) -> str | None:
    """The one text of an object; a message without content has none, though it names its role."""
    if _message(value) is not None:
        return None
    texts = [text for text in value.values() if isinstance(text, str) and text.strip()]
    return texts[0] if len(texts) == 1 else None


def judgement(value: Any, name: object = None, scale: Scale | None = None) -> bool | None:
    """False for a thumbs-down, True for a thumbs-up, None where it is neither or can't be told.

    A truth value says so, and so does a word. A number says nothing by itself: 0 may be the best, as of
    toxicity. On a known scale its lower half is a thumbs-down, its upper half a thumbs-up and its middle
    neither; without one, 0 and -1 are thumbs-down and 1 is a thumbs-up where the name of the score says
    that it is a thumb, as `user-feedback` or `correctness`.
    """
    if isinstance(value, bool):
        return value
    number = _number(value)
    if number is None:
        word = value.strip().casefold() if isinstance(value, str) else ""
        return False if word in DOWN else True if word in UP else None
    if scale is not None:
        low, high = scale
        middle = (low + high) / 2
        inside = low <= number <= high
        return None if number == middle or not inside else number > middle
    if isinstance(name, str) and THUMBS.search(name):
        return number == 1 if number in (-1, 0, 1) else None
    return None


def scale_between(low: Any, high: Any) -> Scale | None:
    """The scale of two ends, None where one is no number or they leave nothing between them."""
    ends = _number(low), _number(high)
    if ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        return None
    return ends[0], ends[1]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class Exchange:
    """What a model was given and what it said, in the forms in which tools keep it."""

    inputs: Any
    outputs: Any = None
    subject: Any = None


def named_exchange(fields: Mapping[str, Any], answer_names: Sequence[str]) -> Exchange:
    """The exchange of a record whose question and answer have names that its project chose."""
    return Exchange(
        named(fields, QUESTION_NAMES, question_in),
        named(fields, answer_names, answer_in),
        fields.get("subject"),
    )


def corrected(
    exchange: Exchange,
    *,
    id: Any,
    source: str,
    right: Answer | None,
    at: Any,
    comment: Any = None,
) -> Fields:
    """The report of one judgement about an answer. at: when it was judged. Raises as `report`."""
    return report(
        id=name_of(id),
        source=source,
        prompt=question_in(exchange.inputs),
        target=right,
        old_answer=answer_in(exchange.outputs),
        reported_at=moment(at),
        comment=text_of(comment),
        subject=exchange.subject,
    )


def moment(value: Any) -> str | None:
    """A time as ISO 8601: of a text, or of seconds or milliseconds since 1970. None: no time."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            time = datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
