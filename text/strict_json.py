"""JSON by the standard, where Python and DuckDB take more than that, or only a part.

NaN                      which tools write although JSON has none: null
Infinity, -Infinity      no JSON
{"a": 1, "a": 2}         no JSON: either may be meant

orjson reads most texts; the standard library's parser, five times slower, those that orjson refuses or
may read otherwise.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_STRING_OR_NAN = re.compile(r'"(?:[^"\\]|\\.)*"|NaN')


class AmbiguousJSON(ValueError):
    """JSON that can be read in two ways, or holds what JSON has not; says which."""


_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, an AmbiguousJSON where Python would take it."""
    value = _parsed_fast(text)
    return value if value is not None and _has_all_of(value, text) else _DECODER.decode(text)


def parse_leniently(text: str) -> Any:
    """The value of a JSON text as `json.loads` reads it: NaN is a number, the last of equal keys counts.

    Raises ValueError or RecursionError.
    """
    value = _parsed_fast(text)
    return json.loads(text) if value is None else value


def to_text(value: Any) -> str:
    """A value of JSON's kinds as JSON text on one line."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # whole numbers of more than 64 bits, half of a surrogate pair
        return json.dumps(value)


def _parsed_fast(text: str) -> Any:
    """The value as orjson reads it; None where it may be another one, is null or no JSON."""
    data = text.encode("utf-8", "surrogatepass")
    if b"0" * 19 in data.translate(_ZEROS):  # orjson makes a float of a number beyond 64 bits
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _has_all_of(value: Any, text: str) -> bool:
    """Whether no key came twice: each member of an object has a colon, in the text as in the value."""
    if "\\u003" in text:  # a colon that the text writes otherwise
        return False
    try:
        return text.count(":") == orjson.dumps(value).count(b":")
    except TypeError:  # too deep
        return False


def without_nan(text: str) -> str:
    """A JSON text as it is, but for NaN, which becomes null. Raises ValueError as `parse` does."""
    parse(text)
    if "NaN" not in text:
        return text
    return _STRING_OR_NAN.sub(lambda m: "null" if m.group() == "NaN" else m.group(), text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise AmbiguousJSON(f'the key "{repeated[:80]}" comes twice in one object; keep one')
    return values


def _only_nan(constant: str) -> None:
    if constant != "NaN":
        raise AmbiguousJSON(f"{constant} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_only_nan)
