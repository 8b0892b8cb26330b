"""Small multiples: every mark is where its figure says, and nothing in the data is markup."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.charts.multiples import BOTTOM, TOP, multiples, suite, ticks

SVG = "{http://www.w3.org/2000/svg}"


def row(number: int, value: float | None, **more: Any) -> dict[str, Any]:
    found = {
        "number": number,
        "version": f"v{number}",
        "value": value,
        "low": None,
        "high": None,
        "threshold": 0.9,
        "passed": True,
        "probes": 100,
        "failed": 2,
    }
    return {**found, **more}


def drawn(rows: list[dict[str, Any]], **more: Any) -> ElementTree.Element:
    text = suite("said", rows, **more).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return ElementTree.fromstring(text)


def test_each_version_is_a_point_that_leads_to_it_and_a_higher_value_stands_higher() -> None:
    root = drawn([row(1, 0.95, low=0.9, high=1.0), row(2, 0.99), row(3, 0.5, passed=False)])
    links = root.findall(f"{SVG}a")
    assert [link.get("href") for link in links] == [f"version?version=v{n}" for n in (1, 2, 3)]
    first, second = root.findall(f"{SVG}a/{SVG}circle")
    assert TOP <= float(second.get("cy", 0)) < float(first.get("cy", 0)) <= BOTTOM
    assert float(first.get("cx", 0)) < float(second.get("cx", 0))
    assert [p.get("class") for p in links[2].findall(f"{SVG}path")] == ["failed"]
    told = links[0].findtext(f"{SVG}title")
    assert told == "v1 v1: 95% (90% to 100%), asked for 90%; 2 of 100 probes failed"


def test_the_dashes_stand_at_what_is_asked_and_the_band_between_its_bounds() -> None:
    root = drawn([row(1, 0.9, low=0.85, high=0.95), row(2, 0.9, low=0.85, high=0.95)])
    paths = {p.get("class"): p.get("d", "") for p in root.findall(f"{SVG}path")}
    value = float(re.findall(r" ([\d.]+)", paths["line"])[0])
    asked = float(re.findall(r" ([\d.]+)H", paths["asked"])[0])
    assert asked == value
    band = [float(y) for y in re.findall(r" ([\d.]+)", paths["band"])]
    assert max(band) - value == pytest.approx(value - min(band), abs=0.2)
    assert max(band) > value > min(band)


def test_one_version_and_versions_without_a_value_are_drawn_too() -> None:
    assert len(drawn([row(7, 1.0)]).findall(f"{SVG}a")) == 1
    assert drawn([row(7, None, threshold=None)]).findall(f"{SVG}a") == []
    assert drawn([row(1, 1.02), row(2, 1.04)], ratio=True).findall(f"{SVG}text")


def test_nothing_in_a_sentence_or_an_id_is_markup() -> None:
    bad = '"><script>alert(1)</script>'
    text = multiples([(bad, suite(bad, [row(1, 0.5, version=bad)]))])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 4


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_round_inside_and_about_as_many_as_asked(
    low: float, width: float, about: int
) -> None:
    found = ticks(low, low + width, about)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    assert found == sorted(found)
    assert about / 3 <= len(found) + 1 <= 3 * about + 2


def test_ticks_of_numbers_are_whole() -> None:
    assert ticks(1, 3, 6, least=1) == [1, 2, 3]
    assert ticks(5, 5, 6, least=1) == [5]
