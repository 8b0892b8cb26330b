"""JSON by the standard, where Python and DuckDB take more than that, or only a part.

NaN                      which tools write although JSON has none: null
Infinity, -Infinity      no JSON
{"a": 1, "a": 2}         no JSON: either may be meant
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRING_OR_NAN = re.compile(r'"(?:[^"\\]|\\.)*"|NaN')


class AmbiguousJSON(ValueError):
    """JSON that can be read in two ways, or holds what JSON has not; says which."""


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, an AmbiguousJSON where Python would take it."""
    return _DECODER.decode(text)


def without_nan(text: str) -> str:
    """A JSON text as it is, but for NaN, which becomes null. Raises ValueError as `parse` does."""
    parse(text)
    if "NaN" not in text:
        return text
    return _STRING_OR_NAN.sub(lambda m: "null" if m.group() == "NaN" else m.group(), text)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise AmbiguousJSON(f'the key "{twice[:80]}" comes twice in one object; keep one')
    return values


def _nan_alone(constant: str) -> None:
    if constant != "NaN":
        raise AmbiguousJSON(f"{constant} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once, parse_constant=_nan_alone)
