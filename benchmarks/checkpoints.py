"""What an interrupted run of `melo bench edit` has finished: one file a method, each written at once.

    <cache>/unfinished/<digest>/<seed>-<method>.json ──► the next run of the same ──► gone

The digest stands for all that a figure depends on: the file, the options, the backbone and the code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artifacts.atomic import write_atomically

Figures = dict[str, dict[str, Any]]


class Checkpoints:
    """Figures of finished methods. resumed: those that an earlier run had finished."""

    def __init__(self, cache: Path, depends_on: Sequence[object]) -> None:
        text = repr([*depends_on, _code()])
        self._folder = cache / "unfinished" / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.resumed: set[str] = set()

    def figures(self, seed: int, methods: Sequence[str], make: Callable[[], Figures]) -> Figures:
        """By method: read back if an earlier run finished all of `methods`, else made and saved."""
        paths = {name: self._folder / f"{seed}-{name}.json" for name in methods}
        if all(path.is_file() for path in paths.values()):
            self.resumed |= set(methods)
            return {n: json.loads(path.read_text(encoding="utf-8")) for n, path in paths.items()}
        figures = make()
        for name in methods:
            write_atomically(paths[name], json.dumps(figures[name], ensure_ascii=False))
        return figures

    def clear(self) -> None:
        """Forget them: the run has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _code() -> str:
    """The commit that runs, and what has changed since."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, check=False)
        return hashlib.sha256(done.stdout).hexdigest()

    return git("rev-parse", "HEAD") + git("diff", "HEAD", "--", "*.py")
