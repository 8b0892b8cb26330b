"""Ask versions a question, by a process of its own that stays: the pages never load a model.

{"prompt": "...", "versions": ["base", "champion"]}  ──► cli/dashboard/answering.py
{"answers": [{"version", "answer", "edit", "distance", "radius", ...}]}  ◄──
"""

from __future__ import annotations

from typing import Any

from dashboards.errors import NoAnswer
from dashboards.process import LineProcess

PATIENCE = 180.0  # seconds; the first question opens the backbone


class Answerer:
    """Asks the answering process that `MELO_ASK` names."""

    def __init__(self, command: list[str] | None = None) -> None:
        self.process = LineProcess("MELO_ASK", "answers", PATIENCE, command)

    def ask(self, prompt: str, versions: list[str]) -> list[dict[str, Any]]:
        """An answer or an error for each version, in their order. Raises NoAnswer."""
        reply = self.process.ask({"prompt": prompt, "versions": versions})
        answers = reply.get("answers")
        if not isinstance(answers, list):
            raise NoAnswer(f"The answering process said something else: {str(reply)[:200]}")
        return answers
