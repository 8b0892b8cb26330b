"""ShareGPT: `conversations` of {"from", "value"}.

As FastChat and axolotl keep it (https://docs.axolotl.ai/docs/dataset-formats/conversation.html,
read November 2026); preference files of LLaMA-Factory add `chosen` and `rejected`. The last turn of
the model is the right answer, the turns before it are the prompt.
"""

from __future__ import annotations

from tasks.ingest.shapes.shape import Fields, Row, Shape, Unusable
from tasks.ingest.shapes.values import answer_in, conversation, messages, name_of, report, text_of


def _recognises(row: Row) -> bool:
    turns = row.get("conversations")
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and any(name in first for name in ("from", "role", "value"))


def _report(row: Row) -> Fields:
    turns = messages(row["conversations"])
    if not turns:
        raise Unusable("a turn of the conversation has no `from` or no `value`")
    if isinstance(row.get("system"), str):
        turns.insert(0, {"role": "system", "content": row["system"]})
    target = answer_in([row["chosen"]]) if row.get("chosen") else None
    while turns and turns[-1]["role"] != "user":
        last = turns.pop()
        if target is None and last["role"] == "assistant":
            target = text_of(last["content"])
    return report(
        id=name_of(row.get("id")),
        prompt=conversation(turns),
        target=target,
        old_answer=answer_in([row["rejected"]]) if row.get("rejected") else None,
    )


SHAPE = Shape(
    name="sharegpt",
    tool="ShareGPT, FastChat",
    reads="`conversations` of {from, value}",
    recognises=_recognises,
    report=_report,
    columns=("conversations", "chosen", "rejected"),
)
