"""A process that makes decisions for the review page: JSON lines in and out (dashboards/deciding.py).

    key ──► has it the scope `review`? ──► tasks/review.py, as the key's owner
                 └─ no ──► {"error": ...}, nothing is read or changed

It ends when its input does. What was decided is published for readers as soon as nothing more comes.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.context import State
from console.errors import line_for_page

if TYPE_CHECKING:
    from ledger import Decision, Ledger
    from serving.keys import KeyStore

QUIET = 1.0  # seconds without a call, after which what was decided is published


class Deciders:
    """Makes calls of the review page in one home."""

    def __init__(self, home: Path) -> None:
        from serving.keys import KeyStore

        self._state = State(home)
        self._keys: KeyStore = KeyStore(self._state.settings.paths.keys)
        self._ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        """The home's ledger, opened by the first call."""
        if self._ledger is None:
            self._ledger = self._state.ledger(create=False)
        return self._ledger

    def call(self, question: dict[str, Any]) -> dict[str, Any]:
        """Make one call; an error that the user can mend as {"error"}."""
        try:
            entry = self._keys.find(str(question["key"]))
            if entry is None:
                return {
                    "error": "This is no valid key. Make one: `melo keys add NAME --scope review`."
                }
            if not entry.allows("review"):
                return {"error": f"The key of {entry.name} lacks the scope review."}
            calls: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
                "who": lambda _, actor: {"who": actor},
                "preview": self._preview,
                "decide": self._decide,
                "undo": self._undo,
            }
            return calls[question["call"]](question, entry.name)
        except (KeyError, TypeError, AttributeError) as error:
            return {"error": f"not a call of the review page: {error}"}
        except Exception as error:
            return {"error": line_for_page(error)}

    def publish(self) -> None:
        """Let readers see what was decided."""
        if self._ledger is not None:
            self._ledger.store.publish()

    def _preview(self, question: dict[str, Any], actor: str) -> dict[str, Any]:
        from tasks.review import preview

        changes = preview(self._state.context(self.ledger), _decision(question), actor=actor)
        return {"changes": [asdict(change) for change in changes]}

    def _decide(self, question: dict[str, Any], actor: str) -> dict[str, Any]:
        from tasks.review import decide

        decided = decide(self._state.context(self.ledger), _decision(question), actor=actor)
        return {"decided": asdict(decided)}

    def _undo(self, question: dict[str, Any], actor: str) -> dict[str, Any]:
        decision, reason = str(question["decision"]), str(question["reason"])
        moved = self.ledger.decisions.undo(decision, actor=actor, reason=reason)
        self.publish()  # at once: the page shows again what it had left out
        return {"undone": moved}


def _decision(question: dict[str, Any]) -> Decision:
    from ledger import ACTIONS, Decision

    if question["action"] not in ACTIONS:
        raise KeyError(f"action {question['action']!r}; there are {', '.join(ACTIONS)}")
    value = question.get("value")
    return Decision(
        question["action"],
        str(question["edit"]),
        str(question["reason"]),
        None if value is None else str(value),
    )


def main(home: str) -> None:
    """Make the calls that come on stdin. Whatever else is printed in this process goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    deciders = Deciders(Path(home))
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    waiting: float | None = None
    while True:
        try:
            line = lines.get(timeout=waiting)
        except queue.Empty:
            deciders.publish()
            waiting = None
            continue
        if line is None:
            deciders.publish()
            return
        try:
            question = json.loads(line)
        except ValueError as error:
            question = {"call": f"no JSON: {error}"}
        print(json.dumps(deciders.call(question), default=_text), file=out, flush=True)
        waiting = QUIET


def _read(lines: queue.Queue[str | None]) -> None:
    for line in sys.stdin:
        if line.strip():
            lines.put(line)
    lines.put(None)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main(sys.argv[1])
