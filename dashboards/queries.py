"""All that the pages show, by page, without Streamlit: the ledger's copy joined with MLflow.

    Records(settings).overview(...)  ──► one opening of the copy ──► plain values, Arrow tables

Everything returned can be pickled, so that a page may cache it under the copy's stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from config import Settings
from ledger.insight import ReadCopy, overview


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


class Records:
    """Questions to one home. Every method opens the copy once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.copy = ReadCopy(settings.paths.read_ledger, threads=settings.ledger.threads)

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
                overview.alerts(con, now),
            )
