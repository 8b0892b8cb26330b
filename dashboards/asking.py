"""Ask versions a question, by a process of its own that stays: the pages never load a model.

    {"prompt": "...", "versions": ["base", "champion"]}  ──► its stdin, a line a question
    {"answers": [{"version", "answer", "edit", "distance", "radius", ...}]}  ◄── its stdout

Which process that is, `melo dashboard` says in `MELO_ASK`, a command as a JSON list.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import threading
from typing import Any

from dashboards.errors import NoAnswer

PATIENCE = 180.0  # seconds; the first question opens the backbone


class Asker:
    """One answering process, started by the first question and again where it has died."""

    def __init__(self, command: list[str] | None = None) -> None:
        self._command = command if command is not None else _told()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    @property
    def possible(self) -> bool:
        """Whether there is a process to ask at all."""
        return bool(self._command)

    def ask(self, prompt: str, versions: list[str]) -> list[dict[str, Any]]:
        """An answer or an error for each version, in their order. Raises NoAnswer."""
        with self._lock:
            process = self._started()
            line = json.dumps({"prompt": prompt, "versions": versions})
            try:
                assert process.stdin is not None
                process.stdin.write(line + "\n")
                process.stdin.flush()
            except OSError:
                self._end()
                raise NoAnswer("The answering process has ended. Ask once more.") from None
            said = self._line(process)
        try:
            answers: list[dict[str, Any]] = json.loads(said)["answers"]
        except (ValueError, KeyError, TypeError):
            raise NoAnswer(f"The answering process said something else: {said[:200]}") from None
        return answers

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if not self._command:
            raise NoAnswer(
                "These pages were started without a process that answers. Start them with "
                "`melo dashboard`, or ask with `melo ask`."
            )
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                encoding="utf-8",
            )  # fmt: skip
        return self._process

    def _line(self, process: subprocess.Popen[str]) -> str:
        """The next line; the process answers one question at a time, so no other can be waiting."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self._end()
                raise NoAnswer(f"No answer within {PATIENCE:.0f} s. Is the machine busy?")
        said = process.stdout.readline()
        if not said:
            self._end()
            raise NoAnswer(
                "The answering process ended instead of answering; its reason is in the log of "
                "`melo dashboard`."
            )
        return said

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None


def _told() -> list[str]:
    try:
        return [str(word) for word in json.loads(os.environ.get("MELO_ASK", "[]"))]
    except (ValueError, TypeError):
        return []
