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
from config.sections import IngestSettings
from melo_engine import Prompt
from serving.errors import RequestRefused
from serving.intake import refuse_unusable
from serving.messages import conversation
from serving.prompts import as_json
from serving.schemas import FeedbackRequest


@dataclass(frozen=True)
class RecentAnswer:
    """An answer of this service: its prompt, its text, and where it came from."""

    prompt: Prompt
    text: str
    origin: dict[str, object]


class Memory:
    """The last answers, in memory only, so that feedback can name one by its id."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._answers: OrderedDict[tuple[str, int], RecentAnswer] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, identity: str, index: int, answer: RecentAnswer) -> None:
        """Remember one, forget the oldest."""
        with self._lock:
            self._answers[identity, index] = answer
            while len(self._answers) > self.most:
                self._answers.popitem(last=False)

    def find(self, identity: str | None, index: int) -> RecentAnswer | None:
        """The answer of this id, None where it is unknown or long ago."""
        return self._answers.get((identity, index)) if identity is not None else None


def report(
    request: FeedbackRequest, answer: RecentAnswer | None, source: str, limits: IngestSettings
) -> dict[str, Any]:
    """The line for the inbox.

    Raises RequestRefused where it is not clear which question is meant, or intake would not take it.
    """
    prompt = _prompt(request) or (answer.prompt if answer else None)
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
        "old_answer": answer.text if answer and answer.text.strip() else None,
        "source": source,
        "reported_at": datetime.now(UTC).isoformat(),
        "comment": request.comment,
        "answer": request.answer
        and {"id": request.answer, "index": request.index, **(answer.origin if answer else {})},
    }
    line = {name: value for name, value in line.items() if value is not None}
    refuse_unusable(line, prompt, limits)
    return line


def _prompt(request: FeedbackRequest) -> Prompt | None:
    prompt = request.prompt
    return conversation(prompt, "prompt") if isinstance(prompt, list) else prompt


def put(inbox: Path, line: dict[str, Any]) -> Path:
    """Write a line into the inbox. It is on disk when this returns, whole or not at all."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = inbox / f"feedback-{stamp}-{line['id']}.jsonl"
    write_durably(path, json.dumps(line, ensure_ascii=False) + "\n")
    return path
