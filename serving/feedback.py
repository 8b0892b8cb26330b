"""Feedback: an error report into the inbox, tied to the answer that it is about.

    HOME/inbox/feedback-<time>-<id>.jsonl    one line, as `melo ingest` takes it

The source of a report is the name of the key that sent it, never what its sender says, since
sources are trusted differently.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from artifacts.atomic import write_durably
from melo_engine import Prompt
from serving.errors import RequestRefused
from serving.messages import conversation
from serving.prompts import as_json
from serving.schemas import FeedbackRequest


@dataclass(frozen=True)
class Given:
    """An answer that was given: what was asked, what was said, where it came from."""

    prompt: Prompt
    text: str
    origin: dict[str, object]


class Memory:
    """The last answers, in memory only, so that feedback can name one by its id."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._answers: OrderedDict[tuple[str, int], Given] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, answer: str, index: int, given: Given) -> None:
        """Remember one, forget the oldest."""
        with self._lock:
            self._answers[answer, index] = given
            while len(self._answers) > self.most:
                self._answers.popitem(last=False)

    def find(self, answer: str | None, index: int) -> Given | None:
        """The answer of this id, None where it is unknown or long ago."""
        return self._answers.get((answer, index)) if answer is not None else None


def report(request: FeedbackRequest, given: Given | None, source: str) -> dict[str, Any]:
    """The line for the inbox. Raises Refused where it is not clear which question is meant."""
    prompt = _prompt(request) or (given.prompt if given else None)
    if prompt is None:
        raise RequestRefused(
            404 if request.answer else 400,
            "answer_unknown",
            "the answer is not remembered; send the prompt along with it.",
            param="answer",
        )
    line: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "prompt": as_json(prompt),
        "target": request.target,
        "subject": request.subject,
        "rephrases": request.rephrases or None,
        "old_answer": given.text if given and given.text.strip() else None,
        "source": source,
        "reported_at": datetime.now(UTC).isoformat(),
        "comment": request.comment,
        "answer": request.answer
        and {"id": request.answer, "index": request.index, **(given.origin if given else {})},
    }
    return {name: value for name, value in line.items() if value is not None}


def _prompt(request: FeedbackRequest) -> Prompt | None:
    given = request.prompt
    return conversation(given, "prompt") if isinstance(given, list) else given


def put(inbox: Path, line: dict[str, Any]) -> Path:
    """Write a line into the inbox. It is on disk when this returns, whole or not at all."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = inbox / f"feedback-{stamp}-{line['id']}.jsonl"
    write_durably(path, json.dumps(line, ensure_ascii=False) + "\n")
    return path
