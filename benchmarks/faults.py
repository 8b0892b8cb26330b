"""Every fault that must be survived, each in a run of its own, with real kills at real moments.

    melo bench faults [--only NAME]

Nothing in the product knows of this: the moment is read from the ledger and the files, as anyone
could, and then something is killed, locked or filled. A fault that came too late, since the step
was over before the kill, is tried again with new reports. Servers and home are shared by faults that
follow each other; those that need a clock or a disk of their own get their own.

survived   every line on record once, every edit in force, the ledger's audit without a finding, the
           champion gated at every moment, no half version on disk or in MLflow, no orphaned run,
           and a scheduled edit run that ended well afterwards with nobody touching anything
lost       lines or edits that are missing in the end
doubled    lines counted twice, prompts in force twice, contents registered twice
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks import fault_injection
from benchmarks.deployment import Deployment, deployed, until
from benchmarks.fault_injection import Injection, Missed
from benchmarks.tiny import make_backbone, make_home, put, reports, subjects
from config import Settings
from deployment.flow_runs import orphaned, unfinished
from execution.ports import free_port
from execution.versions import Versions
from ledger import LedgerError
from melo_engine import MeloError, Version
from registry.store import Registry

Say = Callable[[str], None]
PATIENCE = 420.0  # seconds for what takes some forty on a machine that is not busy
TRIES = 4  # at hitting the moment
EDITS = 20
SMALL_DISK = "64m"


@dataclass(frozen=True)
class Fault:
    """What is done. edits, junk: lines of its file. clock: its processes' clock can be set.

    A transaction takes `ingest.chunk_lines` lines: a file that is to be half read has some of these.
    """

    name: str
    inject: Injection
    edits: int = EDITS
    junk: int = 0
    clock: bool = False


FAULTS = (
    Fault("gpu worker killed in training", fault_injection.in_training),
    Fault("gpu worker killed in the gate", fault_injection.in_the_gate),
    Fault("gpu worker killed between registration and promotion", fault_injection.before_promotion),
    Fault("cpu worker killed in ingestion", fault_injection.in_ingestion, junk=1_000_000),
    Fault("Prefect server killed in a job", fault_injection.prefect_server),
    Fault("MLflow server killed in a job", fault_injection.mlflow_server),
    Fault("ledger locked for 60 s", fault_injection.ledger_locked),
    Fault("artifact store full", fault_injection.disk_full),
    Fault("two edit flows at once", fault_injection.two_flows, edits=40),
    Fault("clock jumps a day", fault_injection.clock_jump, clock=True),
)


def bench(only: str | None = None, say: Say = print) -> dict[str, Any]:
    """The record that `melo bench faults` prints."""
    chosen = [fault for fault in FAULTS if only is None or only in fault.name]
    names = iter(subjects(EDITS * (TRIES + 1) * (len(FAULTS) + 2)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        backbone = make_backbone(
            place / "backbone", subjects(EDITS * (TRIES + 1) * (len(FAULTS) + 2))
        )
        for clock in (False, True):
            group = [fault for fault in chosen if fault.clock == clock]
            while group:
                say(f"a home for {len(group)} faults")
                with _home(place / f"home-{len(group)}-{clock}", backbone, clock) as deployment:
                    while group:
                        fault = group.pop(0)
                        try:
                            row = _inject(deployment, fault, names, say)
                        except Exception as error:  # one that can't be judged has not survived
                            row = _failed_row(fault, [f"{type(error).__name__}: {error}"])
                        say(f"  {'survived' if row['survived'] else row['problems']}")
                        rows.append(row)
                        if not row["survived"]:
                            break  # the others must not stand on what this one left
    return {
        "faults": rows,
        "survived": sum(row["survived"] for row in rows),
        "of": len(rows),
        "lost": sum(row["lost"] for row in rows),
        "doubled": sum(row["doubled"] for row in rows),
    }


@contextmanager
def _home(folder: Path, backbone: Path, clock: bool) -> Iterator[Deployment]:
    ports = (free_port(), free_port())
    through = f'\n[registry]\ntracking_uri = "http://127.0.0.1:{ports[1]}"\n'
    settings = make_home(folder, backbone, edits=24, more=through)
    with ExitStack() as stack:
        if fault_injection.may_mount():
            stack.enter_context(fault_injection.small_disk(settings.paths.artifacts, SMALL_DISK))
        environment = fault_injection.settable_clock(settings.home) if clock else {}
        yield stack.enter_context(deployed(settings, ports=ports, environment=environment))


def _inject(deployment: Deployment, fault: Fault, names: Iterator[str], say: Say) -> dict[str, Any]:
    """Inject one fault; its row of the table, once the deployment has settled."""
    began = time.monotonic()
    why = fault_injection.missing(fault.inject)
    if why:
        return _failed_row(fault, [why])
    watch = Watch(deployment)
    hit, after = False, datetime.now(UTC)
    with watch:
        for attempt in range(TRIES):
            say(f"{fault.name}" + (f", try {attempt + 1}" if attempt else ""))
            batch = [next(names) for _ in range(fault.edits)]
            junk = ["this is no report"] * fault.junk
            watch.lines += fault.edits + fault.junk
            watch.prompts += [row["prompt"] for row in reports(batch)]
            try:
                fault.inject(
                    deployment,
                    lambda b=batch, j=junk: put(deployment.settings, b[0], reports(b), j),  # type: ignore[misc]
                )
                hit = True
            except Missed as error:
                say(f"  {error}")
            after = datetime.now(UTC)
            until(watch.settled, patience=PATIENCE, every=2)
            if hit:
                break
        recovered = until(lambda: watch.recovered(after), patience=PATIENCE, every=2)
    row = watch.verdict(recovered=bool(recovered), hit=hit)
    return {"name": fault.name, **row, "seconds": round(time.monotonic() - began, 1)}


def _failed_row(fault: Fault, problems: list[str]) -> dict[str, Any]:
    return {
        "name": fault.name,
        "survived": False,
        "lost": 0,
        "doubled": 0,
        "problems": problems,
        "seconds": None,
    }


@dataclass
class Watch:
    """Looks at a deployment from outside while a fault is at work, and counts afterwards.

    lines, prompts: what was put in since it began; before: lines that were there already.
    """

    deployment: Deployment
    lines: int = 0
    prompts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __enter__(self) -> Watch:
        self.before = self.deployment.ledger.counts().lines
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._check_champion, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def settled(self) -> bool:
        """Whether every line is on record and every edit has come to its end."""
        counts = self.deployment.ledger.counts()
        waiting = {"received", "ready", "planned", "trained"} & set(counts.counts)
        return counts.lines >= self.before + self.lines and not waiting

    def recovered(self, after: datetime) -> bool:
        """Whether a scheduled edit run began after the fault and ended well."""
        try:
            runs = self.deployment.runs("edit")
        except httpx.HTTPError:
            return False  # the server is on its way
        return any(
            run["state_type"] == "COMPLETED"
            and (run["created_by"] or {}).get("type") == "SCHEDULE"
            and datetime.fromisoformat(run["start_time"].replace("Z", "+00:00")) > after
            for run in runs
            if run["start_time"]
        )

    def verdict(self, *, recovered: bool, hit: bool) -> dict[str, Any]:
        """The row of the table, with what is wrong."""
        ledger, settings = self.deployment.ledger, self.deployment.settings
        counts = ledger.counts()
        in_force = Counter(edit.prompt for edit in ledger.edits.find(state="active"))
        missing = [prompt for prompt in self.prompts if not in_force[prompt]]
        lines = counts.lines - self.before - self.lines
        registered = _registered(settings)
        twice = sum(n - 1 for n in (*in_force.values(), *Counter(registered).values()))
        problems = [*ledger.audit(), *_half_versions(settings), *self.problems]
        problems += _champion_problems(self.deployment)
        problems += [f"run {run['name']} has no process" for run in self._orphans()]
        if not recovered:
            problems.append("no scheduled edit run has ended well since")
        if not hit:
            problems.append("the moment was never hit")
        lost, doubled = max(-lines, 0) + len(missing), max(lines, 0) + twice
        return {
            "survived": not problems and not lost and not doubled,
            "lost": lost,
            "doubled": doubled,
            "problems": problems,
        }

    def _orphans(self) -> list[dict[str, Any]]:
        """Runs without a process that the supervisor has left, after it has had a minute to find them."""
        orphans: list[dict[str, Any]] = []

        def none_left() -> bool:
            try:
                orphans[:] = orphaned(unfinished(self.deployment.api))
            except httpx.HTTPError:
                return False
            return not orphans

        until(none_left, patience=60, every=5)
        return orphans

    def _check_champion(self) -> None:
        """Check twice a second that the champion has passed its gate and is complete on disk."""
        while not self._stop.wait(0.5):
            try:
                champion = self.deployment.ledger.champions.current()
                if champion is None:
                    continue
                version = self.deployment.ledger.versions.get(champion.version)
                if version.verdict != "passed":
                    self._note(f"version {version.id[:12]} served with verdict {version.verdict}")
                folder = self.deployment.settings.paths.versions / version.id
                Version.load(folder, shards=folder.parent / "shards")
            except LedgerError:
                continue  # locked for longer than usual: that is a fault's doing
            except MeloError as error:
                self._note(f"the champion can't be opened: {error}")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _half_versions(settings: Settings) -> list[str]:
    """Version folders that can't be opened."""
    folder, problems = settings.paths.versions, []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name != "shards" and not path.name.startswith("."):
            try:
                Version.load(path, shards=folder / "shards")
            except MeloError as error:
                problems.append(f"half a version on disk: {error}")
    return problems


def _registered(settings: Settings) -> list[str]:
    """Content hash of every version in MLflow."""
    registry = Registry(settings)
    name = registry.name_for(Versions(settings).backbone)
    versions = registry.client.search_model_versions(f"name='{name}'", max_results=10_000)
    return [str(version.tags.get("melo.content_hash")) for version in versions]


def _champion_problems(deployment: Deployment) -> list[str]:
    """The registry's champion is the ledger's."""
    settings, champion = deployment.settings, deployment.ledger.champions.current()
    if champion is None:
        return ["there is no champion"]
    registry = Registry(settings)
    name = registry.name_for(Versions(settings).backbone)
    alias = registry.client.get_registered_model(name).aliases.get("champion")
    number = deployment.ledger.versions.get(champion.version).registry_version
    if str(alias) != str(number):
        return [f"MLflow's champion is {alias}, the ledger's {number}"]
    return []
