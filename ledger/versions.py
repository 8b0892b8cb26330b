"""Versions of the edited model, their verdicts and the answers to their probes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields, replace
from datetime import UTC, datetime

import pyarrow as pa

from ledger.errors import UnknownId
from ledger.store import Connection, Store, registered
from ledger.types import ProbeRecord, SuiteVerdict, VersionRecord

_KINDS = {"passed": pa.bool_(), "cached": pa.bool_(), "distance": pa.float64()}
PROBED = pa.schema([(f.name, _KINDS.get(f.name, pa.string())) for f in fields(ProbeRecord)])


class Versions:
    """Every version and what its gate said."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        version_id: str,
        *,
        parent: str | None,
        job_id: str | None,
        edits_added: Iterable[str] = (),
        edits_removed: Iterable[str] = (),
        info: Mapping[str, object] | None = None,
    ) -> None:
        """Record a version, named by the hash of its content; of one on record `info` is added to."""
        added, removed = list(edits_added), list(edits_removed)
        values = [version_id, parent, job_id, version_id, datetime.now(UTC), added, removed]
        with self._store.write() as con:
            con.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?) "
                "ON CONFLICT DO UPDATE SET info = json_merge_patch(info, excluded.info)",
                [*values, json.dumps(dict(info or {}))],
            )

    def note(
        self, version_id: str, info: Mapping[str, object], *, registry_version: str | None = None
    ) -> None:
        """Add to what is known of a version on record; an entry that is None is taken out."""
        with self._store.write() as con:
            con.execute(
                "UPDATE versions SET info = json_merge_patch(info, ?), "
                "registry_version = coalesce(?, registry_version) WHERE version_id = ?",
                [json.dumps(dict(info)), registry_version, version_id],
            )

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
        with self._store.write() as con:
            require_version(con, version_id)
            con.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?)", [version_id, at, passed, reason]
            )
            for row in suites:
                value = None if row.value is None or row.value != row.value else row.value
                con.execute(
                    "INSERT INTO suite_verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [version_id, at, *astuple(replace(row, value=value))],
                )

    def record_probe_results(self, version_id: str, results: Iterable[ProbeRecord]) -> None:
        """Record answers probe by probe, in bulk."""
        values = [tuple(vars(row).values()) for row in results]
        with self._store.write() as con, registered(con, "probed", PROBED, values):
            con.execute(
                "INSERT INTO probe_results SELECT ?, ?, probed.* FROM probed",
                [version_id, datetime.now(UTC)],
            )

    def probe_results(self, version_id: str, *, failed_only: bool = False) -> list[ProbeRecord]:
        """The answers on record for a version, in the order they were recorded."""
        names = ", ".join(PROBED.names)
        rows = self._store.rows(
            f"SELECT {names} FROM probe_results WHERE version_id = ? AND NOT (? AND passed) "
            "ORDER BY rowid",
            [version_id, failed_only],
        )
        return [ProbeRecord(*row) for row in rows]

    def suite_verdicts(self, version_id: str) -> list[SuiteVerdict]:
        """The verdict table of the version's latest gate."""
        rows = self._store.rows(
            "SELECT suite, metric, value, threshold, passed, probes, failed FROM suite_verdicts"
            " WHERE version_id = ? AND happened_at = "
            "(SELECT max(happened_at) FROM suite_verdicts WHERE version_id = ?) ORDER BY rowid",
            [version_id, version_id],
        )
        return [SuiteVerdict(*row) for row in rows]

    def all(self) -> list[VersionRecord]:
        """All versions, oldest first."""
        rows = self._store.rows(_VERSIONS + " ORDER BY v.created_at, v.rowid")
        return [_version(row) for row in rows]

    def get(self, version_id: str) -> VersionRecord:
        """One version by its id or an unambiguous prefix of four or more. Raises UnknownId."""
        rows = self._store.rows(
            _VERSIONS + " WHERE v.version_id = ? OR (length(?) >= 4 "
            "AND starts_with(v.version_id, ?)) ORDER BY v.version_id <> ? LIMIT 2",
            [version_id] * 4,
        )
        exact = [row for row in rows if row[0] == version_id] or rows
        if len(exact) != 1:
            raise _unknown(version_id)
        return _version(exact[0])


_VERSIONS = """
SELECT v.version_id, v.parent, v.job_id, v.hash, v.created_at,
       CASE d.passed WHEN true THEN 'passed' WHEN false THEN 'failed' END, d.reason,
       v.edits_added, v.edits_removed, v.registry_version, v.info
FROM versions v LEFT JOIN (
    SELECT version_id, arg_max(passed, happened_at) AS passed,
           arg_max(reason, happened_at) AS reason
    FROM verdicts GROUP BY version_id) d USING (version_id)
"""


def _version(row: tuple[object, ...]) -> VersionRecord:
    values = list(row)
    values[7], values[8] = tuple(values[7] or ()), tuple(values[8] or ())  # type: ignore[arg-type]
    values[10] = json.loads(str(values[10] or "{}"))
    return VersionRecord(*values)  # type: ignore[arg-type]


def require_version(con: Connection, version_id: str) -> None:
    """Raises UnknownId where no version of this id is on record."""
    if not con.execute("SELECT 1 FROM versions WHERE version_id = ?", [version_id]).fetchall():
        raise _unknown(version_id)


def _unknown(version_id: str) -> UnknownId:
    return UnknownId(f"no version {version_id!r} is on record. See `melo versions list`.")
