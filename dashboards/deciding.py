"""Decide what a person has to, by a process of its own that holds the rights: the pages only read.

    {"key", "call": "who"}                                        ──► cli/dashboard/deciding.py
    {"key", "call": "preview" | "decide", "action", "edit", "value", "reason"}
    {"key", "call": "undo", "decision", "reason"}
    {"who": ...} | {"changes": [...]} | {"decided": {...}} | {"undone": [...]} | {"error": "..."}  ◄──

Every call carries the key, which must have the scope `review`: nothing else lets anybody decide. There
is no cookie, so a foreign page that makes a browser call this server can decide nothing.
"""

from __future__ import annotations

from typing import Any

from dashboards.errors import Refused
from dashboards.process import LineProcess

PATIENCE = (
    900.0  # seconds; a change of an edit in force opens the backbone and goes through the gate
)


class Decider:
    """Calls the deciding process that `MELO_REVIEW` names."""

    def __init__(self, command: list[str] | None = None) -> None:
        self.process = LineProcess("MELO_REVIEW", "decides", PATIENCE, command)

    def who(self, key: str) -> str:
        """Whose key it is. Raises Refused, NoAnswer."""
        return str(self._call(key, "who")["who"])

    def preview(
        self, key: str, action: str, edit: str, value: str | None, reason: str
    ) -> list[dict[str, Any]]:
        """What a decision would change: edit, prompt, target, before, after, why. Raises as `who`."""
        reply = self._call(key, "preview", action=action, edit=edit, value=value, reason=reason)
        return list(reply["changes"])

    def decide(
        self, key: str, action: str, edit: str, value: str | None, reason: str
    ) -> dict[str, Any]:
        """Make a decision; returns its record. Raises as `who`."""
        reply = self._call(key, "decide", action=action, edit=edit, value=value, reason=reason)
        return dict(reply["decided"])

    def undo(self, key: str, decision: str, reason: str) -> list[str]:
        """Undo a decision; returns the edits that it moved. Raises as `who`."""
        return list(self._call(key, "undo", decision=decision, reason=reason)["undone"])

    def _call(self, key: str, call: str, **arguments: Any) -> dict[str, Any]:
        reply = self.process.ask({"key": key, "call": call, **arguments})
        if "error" in reply:
            raise Refused(str(reply["error"]))
        return reply
