"""Versions, verdicts, probes, the champion and its history, events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pyarrow as pa

from ledger.errors import ChampionMoved, UnknownId
from ledger.planning import Planning
from ledger.store import first
from ledger.types import Champion, Event, ProbeResult, SuiteVerdict, Version


class Versions(Planning):
    """The part of the ledger about versions of the edited model."""

    def record_version(
        self,
        version_id: str,
        *,
        parent: str | None,
        job_id: str | None,
        hash: str,
        edits_added: Iterable[str] = (),
        edits_removed: Iterable[str] = (),
        registry_version: str | None = None,
        info: Mapping[str, object] | None = None,
        now: datetime | None = None,
    ) -> None:
        """Record a version once; recording it again fills in what was not known."""
        with self.write() as con:
            con.execute(
                """INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET
                    registry_version = coalesce(excluded.registry_version, registry_version),
                    info = json_merge_patch(info, excluded.info)""",
                [
                    version_id, parent, job_id, hash, now or datetime.now(UTC), list(edits_added),
                    list(edits_removed), registry_version, json.dumps(dict(info or {})),
                ],
            )  # fmt: skip

    def record_verdict(
        self,
        version_id: str,
        *,
        passed: bool,
        reason: str,
        suites: Iterable[SuiteVerdict] = (),
        now: datetime | None = None,
    ) -> None:
        """Record what a gate said about a version. A NaN value is kept as missing."""
        at = now or datetime.now(UTC)
        with self.write() as con:
            _known(
                first(con.execute("SELECT 1 FROM versions WHERE version_id = ?", [version_id])),
                version_id,
            )
            con.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?)", [version_id, at, passed, reason]
            )
            for row in suites:
                value = None if row.value is None or row.value != row.value else row.value
                con.execute(
                    "INSERT INTO suite_verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [version_id, at, row.suite, row.metric, value, row.threshold, row.passed,
                     row.probes, row.failed],
                )  # fmt: skip

    def record_probe_results(
        self, version_id: str, results: Iterable[ProbeResult], *, now: datetime | None = None
    ) -> int:
        """Record answers probe by probe, in bulk; returns how many."""
        rows = list(results)
        if not rows:
            return 0
        names = list(ProbeResult.__dataclass_fields__)
        kinds = {"passed": pa.bool_(), "cached": pa.bool_(), "distance": pa.float64()}
        table = pa.table({
            name: pa.array([getattr(row, name) for row in rows], kinds.get(name, pa.string()))
            for name in names
        })  # fmt: skip
        with self.write() as con:
            con.register("probed", table)
            con.execute(
                "INSERT INTO probe_results SELECT ?, ?, probed.* FROM probed",
                [version_id, now or datetime.now(UTC)],
            )
            con.unregister("probed")
        return len(rows)

    def note_narrow(
        self,
        version_id: str,
        narrow: Mapping[str, Iterable[str]],
        *,
        judged: Iterable[str],
        now: datetime | None = None,
    ) -> None:
        """Record which of the judged edits a version does not find in which wordings."""
        at = now or datetime.now(UTC)
        with self.write() as con:
            con.execute(
                "DELETE FROM narrow WHERE edit_id IN (SELECT unnest(?::VARCHAR[]))", [list(judged)]
            )
            for edit, wordings in narrow.items():
                con.execute(
                    "INSERT INTO narrow VALUES (?, ?, ?, ?)", [edit, list(wordings), version_id, at]
                )

    def narrow(self) -> dict[str, tuple[str, ...]]:
        """Edits in force, or about to be, that are not found in some wordings, with those."""
        with self.read() as con:
            rows = con.execute(
                "SELECT n.edit_id, n.wordings FROM narrow n JOIN edit_states s USING (edit_id) "
                "WHERE s.state IN ('trained', 'active') ORDER BY n.noted_at, n.edit_id"
            ).fetchall()
        return {str(edit): tuple(wordings) for edit, wordings in rows}

    def record_wordings(
        self,
        edit_id: str,
        wordings: Iterable[str],
        *,
        actor: str,
        version: str,
        now: datetime | None = None,
    ) -> None:
        """Record wordings of an edit's question that a version has taken up without training."""
        with self.write() as con:
            con.executemany(
                "INSERT INTO wordings VALUES (?, ?, ?, ?, ?)",
                [[edit_id, w, actor, version, now or datetime.now(UTC)] for w in wordings],
            )

    def probe_results(self, version_id: str, *, failed_only: bool = False) -> list[ProbeResult]:
        """The answers on record for a version, in the order they were recorded."""
        names = ", ".join(ProbeResult.__dataclass_fields__)
        with self.read() as con:
            rows = con.execute(
                f"SELECT {names} FROM probe_results WHERE version_id = ? AND NOT (? AND passed) "
                "ORDER BY rowid",
                [version_id, failed_only],
            ).fetchall()
        return [ProbeResult(*row) for row in rows]

    def suite_verdicts(self, version_id: str) -> list[SuiteVerdict]:
        """The verdict table of the version's latest gate."""
        with self.read() as con:
            rows = con.execute(
                "SELECT suite, metric, value, threshold, passed, probes, failed FROM suite_verdicts"
                " WHERE version_id = ? AND happened_at = "
                "(SELECT max(happened_at) FROM suite_verdicts WHERE version_id = ?) ORDER BY rowid",
                [version_id, version_id],
            ).fetchall()
        return [SuiteVerdict(*row) for row in rows]

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        with self.read() as con:
            rows = con.execute(_VERSIONS + " ORDER BY v.created_at, v.rowid").fetchall()
        return [_version(row) for row in rows]

    def version(self, version_id: str) -> Version:
        """One version by its id or an unambiguous prefix of four or more. Raises UnknownId."""
        with self.read() as con:
            rows = con.execute(
                _VERSIONS + " WHERE v.version_id = ? OR (length(?) >= 4 "
                "AND starts_with(v.version_id, ?)) ORDER BY v.version_id <> ? LIMIT 2",
                [version_id] * 4,
            ).fetchall()
        exact = [row for row in rows if row[0] == version_id] or rows
        _known(exact[0] if len(exact) == 1 else None, version_id)
        return _version(exact[0])

    def set_champion(
        self,
        version_id: str,
        *,
        expected: str | None,
        actor: str,
        reason: str,
        now: datetime | None = None,
    ) -> None:
        """Make a version the champion if `expected` (None: none yet) still is.

        Raises ChampionMoved, UnknownId.
        """
        with self.write() as con:
            _known(
                first(con.execute("SELECT 1 FROM versions WHERE version_id = ?", [version_id])),
                version_id,
            )
            current = self.champion()
            found = current.version if current else None
            if found != expected:
                raise ChampionMoved(
                    f"the champion is {found or 'not set'}, not {expected or 'unset'}. "
                    "Look at it and try again."
                )
            con.execute(
                "INSERT INTO champions SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ? "
                "FROM champions",
                [version_id, now or datetime.now(UTC), actor, reason, found],
            )

    def champion(self) -> Champion | None:
        """The version that serves; None before the first promotion."""
        history = self.champion_history(limit=1)
        return history[0] if history else None

    def champion_history(self, *, limit: int = 100) -> list[Champion]:
        """Champions, the present one first."""
        with self.read() as con:
            rows = con.execute(
                "SELECT version, happened_at, actor, reason, previous FROM champions "
                "ORDER BY seq DESC LIMIT ?",
                [limit],
            ).fetchall()
        return [Champion(*row) for row in rows]

    def record_cost(
        self,
        stage: str,
        *,
        seconds: float,
        job_id: str | None = None,
        version_id: str | None = None,
        memory_bytes: int | None = None,
        gpu_bytes: int | None = None,
        device: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """Keep what one stage of a job took, with how many edits the job has."""
        with self.write() as con:
            con.execute(
                "INSERT INTO stage_costs SELECT j.job_id, ?, ?, ?, ?, ?, ?, ?, "
                "(SELECT count(*) FROM job_edits WHERE job_id = j.job_id AND role = 'edit') "
                "FROM (SELECT coalesce(?, (SELECT job_id FROM versions WHERE version_id = ?)) "
                "AS job_id) j",
                [version_id, stage, now or datetime.now(UTC), seconds, memory_bytes, gpu_bytes,
                 device, job_id, version_id],
            )  # fmt: skip

    def record_event(
        self,
        kind: str,
        message: str,
        *,
        severity: str = "info",
        version: str | None = None,
        edit_id: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """Keep something that an operator should see."""
        with self.write() as con:
            con.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                [now or datetime.now(UTC), kind, severity, message, version, edit_id],
            )

    def events(self, *, limit: int = 100, kind: str | None = None) -> list[Event]:
        """The latest events, newest first."""
        with self.read() as con:
            rows = con.execute(
                "SELECT happened_at, kind, severity, message, version, edit_id FROM events "
                "WHERE ? IS NULL OR kind = ? ORDER BY rowid DESC LIMIT ?",
                [kind, kind, limit],
            ).fetchall()
        return [Event(*row) for row in rows]


_VERSIONS = """
SELECT v.version_id, v.parent, v.job_id, v.hash, v.created_at,
       CASE d.passed WHEN true THEN 'passed' WHEN false THEN 'failed' END, d.reason,
       v.edits_added, v.edits_removed, v.registry_version, v.info
FROM versions v LEFT JOIN (
    SELECT version_id, arg_max(passed, happened_at) AS passed,
           arg_max(reason, happened_at) AS reason
    FROM verdicts GROUP BY version_id) d USING (version_id)
"""


def _version(row: tuple[object, ...]) -> Version:
    values = list(row)
    values[7], values[8] = tuple(values[7] or ()), tuple(values[8] or ())  # type: ignore[arg-type]
    values[10] = json.loads(str(values[10] or "{}"))
    return Version(*values)  # type: ignore[arg-type]


def _known(row: tuple[object, ...] | None, version_id: str) -> None:
    if row is None:
        raise UnknownId(f"no version {version_id!r} is on record. See `melo versions list`.")
