"""Open WebUI: feedback with the chat that it is about.

`FeedbackModel` of Open WebUI 0.6 to 0.8, as the admin panel exports it (Evaluations, Feedbacks;
https://github.com/open-webui/open-webui, backend/open_webui/models/feedbacks.py). `snapshot` holds
the chat, whose messages name their parents; `meta.message_id` is the one that was judged. An answer
that its reader has put right in the chat keeps what the model said as `originalContent`.
"""

from __future__ import annotations

from typing import Any

from tasks.ingest.shapes.shape import Fields, NothingToCorrect, Row, Shape, Unusable
from tasks.ingest.shapes.values import Message, conversation, judgement, moment, report, text_of


def _recognises(row: Row) -> bool:
    return (
        isinstance(row.get("data"), dict)
        and isinstance(row.get("meta"), dict)
        and ("snapshot" in row or "rating" in row["data"])
    )


def _report(row: Row) -> Fields:
    thread = _thread(row)
    judged = thread[-1] if thread else {}
    original, content = text_of(judged.get("originalContent")), text_of(judged.get("content"))
    rating = judgement(row["data"].get("rating"), scale=(-1, 1))
    if original is None and rating is not False:
        raise NothingToCorrect(f"rated {row['data'].get('rating')!r}, which is no thumbs-down")
    if judged.get("role") != "assistant":
        raise Unusable(
            f"the message {row['meta'].get('message_id')} that was judged is not in the snapshot of "
            "its chat; export the feedback with its chats"
        )
    turns: list[Message] = [
        {"role": message.get("role"), "content": message.get("content")} for message in thread[:-1]
    ]
    return report(
        id=row.get("id"),
        source="open-webui",
        prompt=conversation(turns),
        target=content if original is not None else None,
        old_answer=original or content,
        reported_at=moment(row.get("updated_at") or row.get("created_at")),
        comment=text_of(row["data"].get("comment")),
    )


def _thread(row: Row) -> list[Row]:
    """The messages from the first one to the one that was judged."""
    history = _history(row.get("snapshot"))
    messages = history.get("messages") or {}
    if isinstance(messages, list):
        messages = {message.get("id"): message for message in messages}
    place = row["meta"].get("message_id") or history.get("currentId")
    thread: list[Row] = []
    while place in messages and len(thread) <= len(messages):
        thread.insert(0, messages[place])
        place = messages[place].get("parentId")
    return thread


def _history(value: Any) -> Row:
    """The innermost history of a snapshot, which holds the chat, which holds its own record."""
    innermost: Row = {}
    while isinstance(value, dict):
        innermost = value["history"] if isinstance(value.get("history"), dict) else innermost
        value = value.get("chat")
    return innermost


SHAPE = Shape(
    name="open-webui",
    tool="Open WebUI",
    reads="exported feedback with its chat: thumbs-down, answers put right in the chat",
    recognises=_recognises,
    report=_report,
    columns=("data", "meta", "snapshot"),
)
