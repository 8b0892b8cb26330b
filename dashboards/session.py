"""What a page stands on: the home, cached records, and the moment that "now" is.

Records are cached under the stamp of the ledger's copy: a page that nothing changed for costs no
query, and a new copy is seen at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import streamlit as st

from config import Settings, default_home, load
from dashboards.asking import Answerer
from dashboards.deciding import Decider
from dashboards.keymap import KeyMap
from dashboards.links import links
from dashboards.queries import Agreement, Records, Traffic
from ledger import LedgerError
from registry.lookup import RegisteredVersion


def settings() -> Settings:
    """The home's settings; read anew at each run of a page, so that a change is seen."""
    return load(default_home())


def stamp() -> str | None:
    """The stamp of the ledger's copy, None where no copy is published."""
    try:
        return Records(settings()).copy.stamp()
    except LedgerError:
        return None


def now() -> datetime:
    """The end of the current minute, UTC: whatever has just happened lies before it, and a second view
    within the minute comes from the cache."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)


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


def texts(edits: Sequence[str]) -> pa.Table:
    """edit, prompt, target, state of edits: one query for all texts of a page."""
    home = settings()
    return _texts(str(home.home), Records(home).copy.stamp(), "\n".join(edits))


def served(days: int) -> Traffic | None:
    """What was served in the last days, None where nothing was written."""
    home, moment = settings(), now()
    stamp = Records(home).traffic_stamp(moment, days)
    with st.spinner("Reading what was served …"):
        return _served(str(home.home), stamp, moment, days)


def key_map(version: str) -> KeyMap:
    """The map of a version's keys; a version never changes. Raises VersionAway."""
    with st.spinner("Drawing the map of keys …"):
        return _key_map(str(settings().home), version)


def registered(version: str) -> RegisteredVersion | None:
    """A version in MLflow. Raises RegistryAway."""
    return _registered(str(settings().home), version)


def agreement(champion: str | None) -> Agreement:
    """Whether MLflow's alias names the ledger's champion."""
    return _agreement(str(settings().home), champion)


def servers() -> dict[str, str]:
    """Addresses of the MLflow and Prefect pages that are known."""
    return links(settings())


@st.cache_resource(show_spinner=False)
def decider() -> Decider:
    """The one deciding process of this server."""
    return Decider()


@st.cache_resource(show_spinner=False)
def asker() -> Answerer:
    """The one answering process of this server."""
    return Answerer()


@st.cache_data(max_entries=10, show_spinner=False)
def _texts(home: str, stamp: str, edits: str) -> pa.Table:
    # One string, since the cache hashes a list item by item.
    return Records(load(Path(home))).texts(edits.split("\n"))


@st.cache_data(max_entries=20, show_spinner=False)
def _served(home: str, stamp: str, now: datetime, days: int) -> Traffic | None:
    # Apart from the rest: its stamp changes with every answer.
    return Records(load(Path(home))).traffic(now, days)


@st.cache_data(max_entries=10, show_spinner=False)
def _key_map(home: str, version: str) -> KeyMap:
    return Records(load(Path(home))).key_map(version)


@st.cache_data(ttl=30, max_entries=100, show_spinner=False)
def _registered(home: str, version: str) -> RegisteredVersion | None:
    return Records(load(Path(home))).registered(version)


@st.cache_data(ttl=30, max_entries=10, show_spinner=False)
def _agreement(home: str, champion: str | None) -> Agreement:
    return Records(load(Path(home))).agreement(champion)
