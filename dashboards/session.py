"""What a page stands on: the home, cached records, and the moment that "now" is.

Records are cached under the stamp of the ledger's copy: a page that nothing changed for costs no
query, and a new copy is seen at once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from config import Settings, default_home, load
from dashboards.queries import Records
from ledger import LedgerError


def settings() -> Settings:
    """The home's settings; read anew at each run of a page, so that a change is seen."""
    return load(default_home())


def stamp() -> str | None:
    """Of the ledger's copy, None where there is none."""
    try:
        return Records(settings()).copy.stamp()
    except LedgerError:
        return None


def now() -> datetime:
    """The minute that it is, in UTC: a page asked twice in it is answered from the cache."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def ask(name: str, **arguments: Any) -> Any:
    """`Records.<name>(...)` of the home, from the cache where its copy has not changed.

    Raises LedgerError where the copy is away.
    """
    home = settings()
    with st.spinner("Reading the ledger …"):
        return _ask(str(home.home), Records(home).copy.stamp(), name, **arguments)


@st.cache_data(max_entries=200, show_spinner=False)
def _ask(home: str, stamp: str, name: str, **arguments: Any) -> Any:
    return getattr(Records(load(Path(home))), name)(**arguments)
