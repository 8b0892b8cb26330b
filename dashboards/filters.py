"""Filters whose values stand in the address, so that a view can be sent to somebody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """One of the options (value in the address: what people read). A value may be given by prefix."""
    values = list(options)
    first = default if default is not None and default in options else values[0]
    start = given(key, values, first)
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


def given(key: str, values: list[str], default: str) -> str:
    """What the address says, where it is one of the values or begins exactly one."""
    told = st.query_params.get(key, "")
    found = [v for v in values if v == told] or [v for v in values if told and v.startswith(told)]
    return found[0] if len(found) == 1 else default


def text(label: str, key: str, **more: Any) -> str:
    """A text to search for."""
    typed: str = st.text_input(label, st.query_params.get(key, ""), key=f"type-{key}", **more)
    remember(key, typed.strip(), "")
    return typed.strip()


def remember(key: str, value: str, default: str) -> None:
    """Put a value into the address; what is the default anyway is left out."""
    if value != default:
        if st.query_params.get(key) != value:
            st.query_params[key] = value
    elif key in st.query_params:
        del st.query_params[key]


def pages(key: str, total: int, size: int, show: Callable[[int], str]) -> int:
    """Which page of a long list: 0 is the first. Nothing is shown where one page holds all."""
    count = max(1, -(-total // size))
    if count == 1:
        return 0
    told = st.query_params.get(key, "1")
    start = min(max(int(told) if told.isdigit() else 1, 1), count)
    number = int(st.number_input(show(count), 1, count, start, key=f"page-{key}"))
    remember(key, str(number), "1")
    return number - 1
