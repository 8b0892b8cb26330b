"""Routing: what was served, from the lines that the service writes, a file a day.

    HOME/traffic/2026-11-23.jsonl   {"time", "version", "edit", "block", "distance", "radius", "seconds"}

Lines that are cut short or malformed are passed over. Files are read by a connection of their own,
since the ledger's can reach no other file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ledger.insight.readcopy import rows, table
from ledger.store import Connection, configuration

BINS = 40  # of distances


def files(folder: Path, now: datetime, days: int) -> list[Path]:
    """The files of the last days, today's among them."""
    names = ((now - timedelta(days=n)).date().isoformat() for n in range(days))
    return sorted(p for p in (folder / f"{name}.jsonl" for name in names) if p.is_file())


def newest(folder: Path) -> date | None:
    """The day of the latest file, None where there is none."""
    days = []
    for path in folder.glob("????-??-??.jsonl"):
        with contextlib.suppress(ValueError):
            days.append(date.fromisoformat(path.stem))
    return max(days, default=None)


@contextlib.contextmanager
def opened(paths: list[Path], *, threads: int = 2) -> Iterator[Connection]:
    """A connection whose table `served` holds the lines of these files."""
    con = duckdb.connect(config=configuration(threads))
    try:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(_SERVED, {"paths": [str(path) for path in paths]})
        con.execute("SET enable_external_access = false")
        yield con
    finally:
        con.close()


def totals(con: Connection) -> dict[str, Any]:
    """answers, share of them by edits, p50, p95 (seconds of an answer)."""
    return rows(con, _TOTALS)[0]


def by_hour(con: Connection) -> pa.Table:
    """hour, answers, edited, share, p95."""
    return table(con, _BY_HOUR)


def reach(con: Connection) -> pa.Table:
    """How near served prompts came: distance in units of the radius, in bins to 2: ratio, who, answers.

    who: "an edit" or "the backbone". Prompts that no key came into question for are left out.
    """
    return table(con, _REACH, {"bins": BINS})


def hits(con: Connection) -> pa.Table:
    """edit, answers, last, nearest, farthest (in units of the radius): most answered first."""
    return table(con, _HITS)


_SERVED = """
CREATE TEMP TABLE served AS
SELECT "time", version, edit, distance, radius, seconds
FROM read_json($paths, format = 'newline_delimited', ignore_errors = true, columns = {
    'time': 'TIMESTAMPTZ', 'version': 'VARCHAR', 'edit': 'VARCHAR', 'distance': 'DOUBLE',
    'radius': 'DOUBLE', 'seconds': 'DOUBLE'})
WHERE "time" IS NOT NULL AND version IS NOT NULL
"""

_TOTALS = """
SELECT count(*) AS answers, count(edit) / nullif(count(*), 0) AS share,
       quantile_cont(seconds, 0.5) AS p50, quantile_cont(seconds, 0.95) AS p95
FROM served
"""

_BY_HOUR = """
SELECT date_trunc('hour', "time") AS hour, count(*) AS answers, count(edit) AS edited,
       count(edit) / count(*) AS share, quantile_cont(seconds, 0.95) AS p95
FROM served GROUP BY hour ORDER BY hour
"""

_REACH = """
SELECT least(floor(distance / radius * $bins / 2), $bins) * 2 / $bins AS ratio,
       CASE WHEN edit IS NULL THEN 'the backbone' ELSE 'an edit' END AS who, count(*) AS answers
FROM served WHERE distance IS NOT NULL AND radius > 0 AND NOT isnan(distance)
GROUP BY ALL ORDER BY ratio, who
"""

_HITS = """
SELECT edit, count(*) AS answers, max("time") AS last, min(distance / nullif(radius, 0)) AS nearest,
       max(distance / nullif(radius, 0)) AS farthest
FROM served WHERE edit IS NOT NULL GROUP BY edit ORDER BY answers DESC, edit
"""
