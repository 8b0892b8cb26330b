"""A line for each answer, in HOME/traffic/YYYY-MM-DD.jsonl, for those who look at edit quality.

    {"time", "id", "version", "edit", "block", "distance", "radius", "seconds"}

No text of anybody, unless `serve.record_prompts` asks for it. Requests only put a line into a
buffer; a thread writes. A buffer that is full drops lines and counts them. Days beyond
`serve.record_days` are deleted.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BUFFER = 50_000  # lines
FLUSH_EVERY = 1.0  # seconds
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl")
log = logging.getLogger("melo.serving")


class TrafficLog:
    """Writes lines to one folder. dropped: called with the number of lines that were not kept."""

    def __init__(self, folder: Path, days: int, dropped: Callable[[int], None]) -> None:
        self.folder, self.days, self.dropped = folder, days, dropped
        self._lines: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue(BUFFER)
        self._end = threading.Event()
        self._cleaned = ""
        self._thread = threading.Thread(target=self._run, name="melo-traffic", daemon=True)
        self._thread.start()

    def add(self, line: dict[str, Any]) -> None:
        """Record an answer that was given just now; returns at once."""
        try:
            self._lines.put_nowait((time.time(), line))
        except queue.Full:
            self.dropped(1)

    def close(self) -> None:
        """Write what is left and end."""
        self._end.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._end.wait(FLUSH_EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        by_day: dict[str, list[str]] = {}
        while True:
            try:
                at, line = self._lines.get_nowait()
            except queue.Empty:
                break
            moment = datetime.fromtimestamp(at, UTC)
            text = json.dumps({"time": moment.isoformat(), **line}, ensure_ascii=False)
            by_day.setdefault(moment.date().isoformat(), []).append(text + "\n")
        for day, lines in by_day.items():
            try:
                self._append(day, "".join(lines).encode())
            except OSError as error:
                self.dropped(len(lines))
                log.error("traffic is not recorded: %s", error.strerror)
        self._clean()

    def _append(self, day: str, data: bytes) -> None:
        """One write: readers see whole lines. A line that a crash cut short is ended first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{day}.jsonl"
        with path.open("ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    data = b"\n" + data
            file.write(data)

    def _clean(self) -> None:
        today = datetime.now(UTC).date()
        if self._cleaned == today.isoformat() or not self.folder.is_dir():
            return
        self._cleaned = today.isoformat()
        oldest = (today - timedelta(days=self.days - 1)).isoformat()
        for path in self.folder.iterdir():
            named = _DAY.fullmatch(path.name)
            if named and named[1] < oldest:
                path.unlink(missing_ok=True)
