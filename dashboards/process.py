"""A process of its own that answers JSON lines: pages load no model and write no ledger.

    {"...": ...}  ──► its stdin, a line a question
    {"...": ...}  ◄── its stdout

`melo dashboard` puts the command of that process into the environment, as a JSON list.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import threading
from typing import Any

from dashboards.errors import NoAnswer


class LineProcess:
    """One answering process, started at the first question and again if it has died.

    variable: the environment variable with its command. does: what it does, for error messages.
    """

    def __init__(
        self, variable: str, does: str, patience: float, command: list[str] | None = None
    ) -> None:
        self._command = command if command is not None else _command_in(variable)
        self._does = does
        self._patience = patience
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    @property
    def possible(self) -> bool:
        """Whether there is a process to ask at all."""
        return bool(self._command)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Its reply to a question. Raises NoAnswer."""
        with self._lock:
            process = self._started()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
            except OSError:
                self._end()
                raise NoAnswer(f"The process that {self._does} has ended. Ask once more.") from None
            line = self._line(process)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise NoAnswer(f"The process that {self._does} said something else: {line[:200]}")
        return answer

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if not self._command:
            raise NoAnswer(
                f"These pages were started without a process that {self._does}. Start them with "
                "`melo dashboard`."
            )
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        return self._process

    def _line(self, process: subprocess.Popen[str]) -> str:
        """The next line; the process answers one question at a time, so no other can be waiting."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self._patience):
                self._end()
                raise NoAnswer(f"No answer within {self._patience:.0f} s. Is the machine busy?")
        line = process.stdout.readline()
        if not line:
            self._end()
            raise NoAnswer(
                f"The process that {self._does} ended instead of answering; its reason is in the log "
                "of `melo dashboard`."
            )
        return line

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None


def _command_in(variable: str) -> list[str]:
    try:
        return [str(word) for word in json.loads(os.environ.get(variable, "[]"))]
    except (ValueError, TypeError):
        return []
