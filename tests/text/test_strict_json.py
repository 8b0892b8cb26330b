"""JSON read fast is JSON read by the standard: the same values, the same refusals."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text.strict_json import AmbiguousJSON, parse, parse_leniently, to_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        [2**63, 2**64, -(2**63) - 1, 10**18, "a:b", "\\u003a", "1234567890123456789"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (
        one == other
        if not isinstance(one, list | dict)
        else len(one) == len(other)
        and all(
            _same(a, b)
            for a, b in (
                zip(one, other, strict=True)
                if isinstance(one, list)
                else ((one[key], other[key]) for key in one)
            )
        )
    )


@settings(deadline=None)
@given(VALUES, st.booleans())
def test_every_value_is_read_and_written_as_the_standard_library_does(
    value: Any, ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert _same(parse(text), value)
    assert _same(parse_leniently(text), value)
    assert _same(json.loads(to_text(value)), value)


@settings(deadline=None)
@given(st.text(max_size=5), VALUES, VALUES)
def test_a_key_that_comes_twice_is_told_however_it_is_written(key: str, a: Any, b: Any) -> None:
    plain, escaped = json.dumps(key, ensure_ascii=False), "".join(f"\\u{ord(c):04x}" for c in key)
    for other in (plain, f'"{escaped}"' if key.isascii() else plain):
        text = f"[{{{plain}: {json.dumps(a)}, {other}: {json.dumps(b)}}}]"
        with pytest.raises(AmbiguousJSON, match="comes twice in one object"):
            parse(text)
        assert _same(parse_leniently(text), json.loads(text))


def test_nan_counts_as_missing_and_infinity_is_refused() -> None:
    assert parse('{"a": NaN}') == {"a": None}
    assert math.isnan(parse_leniently("NaN"))
    with pytest.raises(AmbiguousJSON, match="Infinity is no JSON value"):
        parse('{"a": [-Infinity]}')


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} x', "{'a': 1}", "[1,]", "\ufeff{}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    for read in (parse, parse_leniently):
        with pytest.raises(ValueError, match=r".+"):
            read(text)


def test_deep_and_half_texts_are_read_as_before() -> None:
    deep = "[" * 600 + '{"a": 1}' + "]" * 600
    assert parse(deep) == json.loads(deep)
    assert parse('"\\ud83d"') == "\ud83d"
    assert json.loads(to_text("\ud83d")) == "\ud83d"
