"""Values of typed tables, as Parquet, Arrow and XLSX keep them, as people see them in their tools.

    6.0 in a column of floats      ──►  6           a column of whole numbers with a gap becomes floats
    1999-05-04 00:00:00            ──►  1999-05-04  a date; with another time of day it keeps the time
    0.05, shown as 5%              ──►  5%          XLSX; and 1234, shown as 01234

What a text file says (CSV, JSON) stands as it is written there.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa

EXACT = 2**53  # beyond, a float is no whole number that somebody wrote
_PERCENT = re.compile(r"0(?:\.(0+))?%")
_LEADING_ZEROS = re.compile(r"0{2,}")


def as_seen(value: Any) -> Any:
    """A value, or the values of a list or an object, with whole floats as integers and dates as texts."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < EXACT else value
    if isinstance(value, datetime):
        whole_day = value.time() == time.min and not getattr(value, "nanosecond", 0)
        universal = value.utcoffset() in (None, timedelta(0))
        return value.date().isoformat() if whole_day and universal else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [as_seen(item) for item in value]
    if isinstance(value, dict):
        return {name: as_seen(item) for name, item in value.items()}
    return value


def may_change(kind: pa.DataType) -> bool:
    """Whether `as_seen` may change values of an Arrow type."""
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
    return not any(is_kind(kind) for is_kind in plain)


def formatted(value: int | float, number_format: str | None) -> Any:
    """A number as a cell of this format shows it, where that is plain: percent, leading zeros."""
    if number_format and (percent := _PERCENT.fullmatch(number_format)):
        step = Decimal(1).scaleb(-len(percent.group(1) or ""))
        return f"{(Decimal(repr(value)) * 100).quantize(step, ROUND_HALF_UP)}%"
    value = as_seen(value)
    if number_format and _LEADING_ZEROS.fullmatch(number_format) and isinstance(value, int):
        return f"{value:0{len(number_format)}d}"
    return value
