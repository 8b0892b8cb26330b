"""Filters whose values stand in the address, so that a view can be sent to somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

SPANS = {
    "20": "the last 20 versions",
    "100": "the last 100 versions",
    "500": "the last 500 versions",
    "all": "all versions",
}


def choice(
    label: str, options: Mapping[str, str], key: str, default: str | None = None, **more: Any
) -> str:
    """Choose one of the options (value: label). The address may give a value by its prefix."""
    values = list(options)
    first = default if default is not None and default in options else values[0]
    start = _from_address(key, values, first)
    picked: str = st.selectbox(
        label,
        values,
        values.index(start),
        format_func=lambda v: options[v],
        key=f"pick-{key}",
        **more,
    )
    remember(key, picked, first)
    return picked


def state_and_source(states: Iterable[str], sources: Iterable[str]) -> dict[str, str | None]:
    """Choose the state and the source of edits, side by side; None where every one is shown."""
    with st.container(horizontal=True):
        every_state = {"all": "every state", **{name: name for name in states}}
        state = choice("State", every_state, "state", "all", width=180)
        every_source = {"all": "every source", **{name: name for name in sources}}
        source = choice("Source", every_source, "source", "all", width=220)
    return {
        "state": None if state == "all" else state,
        "source": None if source == "all" else source,
    }


def last_versions() -> int | None:
    """Choose how many of the latest versions to show; None for all."""
    span = choice("Show", SPANS, "versions", "100", width=240)
    return None if span == "all" else int(span)


def _from_address(key: str, values: list[str], default: str) -> str:
    """The value in the address, where it is one of the values or the prefix of exactly one."""
    value = st.query_params.get(key, "")
    matches = [value] if value in values else [v for v in values if value and v.startswith(value)]
    return matches[0] if len(matches) == 1 else default


def text(label: str, key: str, **more: Any) -> str:
    """A text to search for."""
    typed: str = st.text_input(label, st.query_params.get(key, ""), key=f"type-{key}", **more)
    remember(key, typed.strip(), "")
    return typed.strip()


def remember(key: str, value: str, default: str) -> None:
    """Put a value into the address; the default is left out."""
    if value != default:
        if st.query_params.get(key) != value:
            st.query_params[key] = value
    elif key in st.query_params:
        del st.query_params[key]


def pages(key: str, total: int, size: int) -> int:
    """Which page of a long list, 0 for the first. No control is shown where one page holds all."""
    count = max(1, -(-total // size))
    if count == 1:
        return 0
    typed = st.query_params.get(key, "1")
    start = min(max(int(typed) if typed.isdigit() else 1, 1), count)
    number = int(st.number_input(f"Page of {count}", 1, count, start, key=f"page-{key}"))
    remember(key, str(number), "1")
    return number - 1
