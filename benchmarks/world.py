"""A home under `melo bench situations`, and what must be true of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tiny import reports, write_lines
from config import Settings, load
from execution.context import Context, open_ledger
from execution.leases import lease
from ledger import Ledger
from registry.relocation import put_right
from tasks.edit import edit_job
from tasks.ingest import ingest_paths
from tasks.judge import judge
from tasks.plan import plan
from tasks.reconcile import reconcile
from tasks.register import register
from tasks.register.promote import advance
from tasks.similar import group_similar

Row = dict[str, str]


@dataclass
class World:
    """A home and what must be true of it. lines: handed in; may_end: prompts whose edit may end now."""

    settings: Settings
    scratch: Path
    dice: random.Random
    names: Iterator[str]
    untouched: list[str]
    lines: int = 0
    active: dict[str, str] = field(default_factory=dict)  # edit: its prompt
    may_end: set[str] = field(default_factory=set)
    outputs: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    backup: tuple[Path, int, dict[str, str]] | None = None
    original: tuple[Path, str] | None = None
    places: int = 0

    def fresh(self) -> Path:
        """A place that nothing was at."""
        self.places += 1
        return self.scratch / f"place-{self.places}"

    def file(self, rows: Sequence[Row]) -> Path:
        """A file of these reports."""
        self.lines += len(rows)
        return write_lines(self.fresh().with_suffix(".jsonl"), list(rows))

    def ledger(self) -> Ledger:
        """The home's ledger, as a command opens it."""
        if put_right(self.settings) is not None:
            self.settings = load(self.settings.home)
        return open_ledger(self.settings)

    def run(self, paths: Iterable[Path] = ()) -> None:
        """What `melo run` does, in this process."""
        with self.ledger() as ledger:
            reconcile(Context(self.settings, ledger))
            ingest_paths(Context(self.settings, ledger), paths)
            edit_all(self.settings, ledger)

    def melo(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A command in a process of its own, in a session of its own."""
        ours = ("PREFECT", "MLFLOW", "MELO")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env={**clean, **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )

    def report(self, name: str, target: str | None = None) -> Row:
        """A report about a name. Another edit of the same question may end with it."""
        row = reports([name])[0] | ({"target": target} if target else {})
        self.may_end.add(row["prompt"])
        return row

    def expect(self, holds: bool, problem: str) -> None:
        """Note a violation where it does not hold."""
        if not holds:
            self.problems.append(problem)


def edit_all(settings: Settings, ledger: Ledger) -> None:
    """Every job that waits, as the flow does."""
    context, taken = Context(settings, ledger), list[str]()
    while True:
        ref = lease(context, taken)
        if ref is None:
            group_similar(context)
            ref = lease(context, taken) if plan(context) else None
        if ref is None:
            return
        taken.append(ref.id)
        verdict = judge(context, ref, edit_job(context, ref))
        if verdict.version:
            register(context, verdict.version)
            if verdict.passed:
                advance(context, verdict.version, actor="run")


def fingerprint(home: Path) -> str:
    """Names, sizes and times of a home's files, except those that a reader may touch."""
    passing = (".lock", ".turn", "-wal", "-shm")
    files = [p for p in sorted(home.rglob("*")) if p.is_file() and not p.name.endswith(passing)]
    return str([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files])
