"""All that the pages show, by page, without Streamlit: the ledger's copy joined with MLflow.

    Records(settings).overview(...)  ──► one opening of the copy ──► plain values, Arrow tables

Everything returned can be pickled, so that a page may cache it under the copy's stamp.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from config import Settings
from dashboards import keymap
from dashboards.errors import RegistryAway, UnknownRecord, VersionAway
from dashboards.links import without_secrets
from dashboards.words import from_home
from ledger import triage
from ledger.insight import ReadCopy, costs, gated, lives, overview, traffic, waiting
from registry.errors import NoStore, RegistryUnreachable
from registry.lookup import RegisteredVersion, champion_hash, find_version

PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # seconds
Result = TypeVar("Result")


@dataclass(frozen=True)
class Overview:
    """Everything on the overview."""

    champion: dict[str, Any] | None
    headline: dict[str, Any]
    suites: pa.Table
    releases: pa.Table
    live_times: pa.Table
    backlog: pa.Table
    alerts: list[dict[str, Any]]


@dataclass(frozen=True)
class Queue:
    """Everything on the queue."""

    reasons: pa.Table
    edits: pa.Table
    review: pa.Table
    sources: pa.Table
    quarantine: pa.Table
    open_contradictions: int
    all_contradictions: int


@dataclass(frozen=True)
class VersionView:
    """Everything on one version."""

    facts: dict[str, Any]
    verdict: pa.Table
    changes: pa.Table
    probes: pa.Table
    counts: dict[str, int]
    taken_out: pa.Table


@dataclass(frozen=True)
class EditView:
    """Everything on one edit. radius: in the version of its last gate; problem: why it can't be read."""

    facts: dict[str, Any]
    timeline: pa.Table
    distances: pa.Table
    radius: float | None
    problem: str | None


@dataclass(frozen=True)
class Agreement:
    """Does MLflow's alias name the ledger's champion? problem: why they can't be compared."""

    agrees: bool
    registry: str | None
    problem: str | None = None


@dataclass(frozen=True)
class Traffic:
    """What was served in a span of days, None where nothing was written."""

    totals: dict[str, Any]
    by_hour: pa.Table
    reach: pa.Table
    hits: pa.Table


@dataclass(frozen=True)
class Costs:
    """Everything on cost."""

    stages: pa.Table
    sizes: pa.Table
    totals: dict[str, Any]


class Records:
    """Queries of one home; each opens the copy once at most. copy: the published one where it is None."""

    def __init__(self, settings: Settings, copy: Path | None = None) -> None:
        self.settings = settings
        self.copy = ReadCopy(copy or settings.paths.read_ledger, threads=settings.ledger.threads)

    def overview(
        self, now: datetime, last: int | None = 100, since: datetime | None = None
    ) -> Overview:
        """last: how many versions; since: only what is younger."""
        with self.copy.open() as con:
            return Overview(
                overview.champion(con),
                overview.headline(con, now),
                overview.suites(con, last, since),
                overview.releases(con, last, since),
                overview.live_times(con, since),
                overview.backlog(con, now),
                [a | {"message": self._from_home(a["message"])} for a in overview.alerts(con, now)],
            )

    def queue(self, now: datetime, state: str | None = None, source: str | None = None) -> Queue:
        """state, source: of the listed edits."""
        with self.copy.open() as con:
            conflicts = waiting.contradiction_counts(con)
            return Queue(
                waiting.reasons(con, now),
                waiting.edits(con, now, state=state, source=source),
                waiting.review(con, now),
                waiting.sources(con, now),
                waiting.quarantine(con),
                conflicts["open"],
                conflicts["all"],
            )

    def to_decide(self, now: datetime) -> list[dict[str, Any]]:
        """Edits that only a person can decide, with triage where no right answer was reported."""
        with self.copy.open() as con:
            items = waiting.to_decide(con, now)
            triaged = {q.edit: triage.as_json(q) for q in triage.unanswered(con, limit=len(items))}
        return [item | {"triage": triaged.get(item["edit"])} for item in items]

    def contradictions(self, only_open: bool, limit: int, offset: int) -> list[dict[str, Any]]:
        """A page of contradictions, both sides whole."""
        with self.copy.open() as con:
            return waiting.contradictions(con, only_open=only_open, limit=limit, offset=offset)

    def versions(self) -> list[dict[str, Any]]:
        """All versions, the latest first."""
        with self.copy.open() as con:
            return gated.names(con)

    def version(self, version: str, only_failed: bool = True) -> VersionView:
        """One version by its full id. Raises UnknownRecord."""
        with self.copy.open() as con:
            facts = gated.facts(con, version)
            if facts is None:
                raise UnknownRecord(f"No version {version} is on record.")
            return VersionView(
                facts,
                gated.verdict(con, version),
                gated.changes(con, version),
                gated.probes(con, version, only_failed=only_failed),
                gated.probe_counts(con, version),
                gated.taken_out(con, version),
            )

    def search(self, text: str, state: str | None = None, source: str | None = None) -> pa.Table:
        """Edits in which a text occurs."""
        with self.copy.open() as con:
            return lives.search(con, text, state=state, source=source)

    def sources(self) -> list[str]:
        """Names of all sources."""
        with self.copy.open() as con:
            return lives.sources(con)

    def edit(self, edit: str) -> EditView:
        """One edit by its id, or a prefix of eight or more. Raises UnknownRecord."""
        with self.copy.open() as con:
            facts = lives.facts(con, edit)
            if facts is None:
                raise UnknownRecord(f"No edit {edit} is on record. Search for it above.")
            timeline = self._details_from_home(lives.timeline(con, facts["edit"]))
            distances = lives.distances(con, facts["edit"])
        radius, problem = None, None
        gated_in = distances["version"][0].as_py() if distances.num_rows else facts["version"]
        if gated_in:
            try:
                radius = keymap.read_radius(self.settings.paths.versions, gated_in, facts["edit"])
            except VersionAway as error:
                problem = self._from_home(str(error))
        return EditView(facts, timeline, distances, radius, problem)

    def texts(self, edits: list[str]) -> pa.Table:
        """Prompts and answers of edits."""
        with self.copy.open() as con:
            return lives.texts(con, edits)

    def costs(self, last: int | None = 100) -> Costs:
        """last: how many versions."""
        with self.copy.open() as con:
            return Costs(costs.stages(con, last), costs.sizes(con, last), costs.totals(con))

    def key_map(self, version: str) -> keymap.KeyMap:
        """Where a version's keys lie. Raises VersionAway."""
        return keymap.read_map(self.settings.paths.versions, version)

    def traffic_stamp(self, now: datetime, days: int) -> str:
        """A stamp that changes whenever the service logs an answer."""
        files = traffic.files(self.settings.paths.traffic, now, days)
        return ",".join(f"{p.name}:{p.stat().st_size}" for p in files)

    def traffic(self, now: datetime, days: int) -> Traffic | None:
        """What was served in the last days."""
        files = traffic.files(self.settings.paths.traffic, now, days)
        if not files:
            return None
        with traffic.opened(files, threads=self.settings.ledger.threads) as con:
            totals = traffic.totals(con)
            if not totals["answers"]:
                return None
            return Traffic(totals, traffic.by_hour(con), traffic.reach(con), traffic.hits(con))

    def registered(self, version: str) -> RegisteredVersion | None:
        """A version in MLflow, None where it was never logged. Raises RegistryAway."""
        return self._ask_mlflow(lambda: find_version(self.settings, version))

    def agreement(self, champion: str | None) -> Agreement:
        """Compare the ledger's champion with MLflow's alias."""
        try:
            registered = self._ask_mlflow(lambda: champion_hash(self.settings))
        except RegistryAway as error:
            return Agreement(False, None, self._from_home(str(error)))
        return Agreement(registered == champion, registered)

    def _ask_mlflow(self, question: Callable[[], Result]) -> Result:
        """Query MLflow with short timeouts, since a page waits for it. Raises RegistryAway."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            return question()
        except NoStore as error:
            raise RegistryAway(str(error)) from None
        except RegistryUnreachable as error:
            uri = self.settings.tracking_uri
            message = f"MLflow at {uri} can't be read: {error.reason[:200]}"
            raise RegistryAway(without_secrets(message)) from None

    def _from_home(self, text: str) -> str:
        return from_home(text, self.settings.home)

    def _details_from_home(self, timeline: pa.Table) -> pa.Table:
        """The timeline with the home's path taken out of its details: an error may name a file there."""
        place = timeline.column_names.index("detail")
        home = self.settings.home.absolute()
        details = pc.replace_substring(timeline["detail"], str(home), home.name)
        return timeline.set_column(place, "detail", details)
