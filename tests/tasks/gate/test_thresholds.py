"""Thresholds as data: the built-in ones load, and nonsense is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.gate import Check, ProbeResult, Suite, ThresholdError, Thresholds
from tasks.gate.verdict.checks import checks_of, passes, share_check
from tasks.gate.verdict.thresholds import SuiteThreshold


def test_the_built_in_thresholds_load_and_name_the_suites_that_must_be_there():
    loaded = Thresholds.load()
    assert {"edit-success", "retention", "locality"} <= set(loaded.required)
    assert loaded.of("locality").share == 1.0
    assert loaded.of("a suite of my own") == loaded.default


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suites: {locality: {shares: 1}}", "shares"),
        ("suites: {locality: {share: 1.5}}", "between 0 and 1"),
        ("suites: {locality: {share: yes}}", "must be a number"),
        ("suites: {locality: {share: .nan}}", "must be 0 or more"),
        ("suites: {locality: {bound: middle}}", "none, lower, upper"),
        ("suites: {locality: {least: 1.5}}", "whole number"),
        ("suites: {locality: {required: 1}}", "true, false"),
        ("suites: [locality]", "table of suite names"),
        ("confidense: 0.9", "confidense"),
        ("- 1", "no table"),
        ("a: [", "can't be read"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path: Path, text: str, said: str):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ThresholdError, match=said):
        Thresholds.load(tmp_path / "t.yaml")


def results(passed: int, failed: int) -> list[ProbeResult]:
    return [
        ProbeResult("mine", str(i), "p", "", "", "", i < passed, "edit7", False)
        for i in range(passed + failed)
    ]


def test_a_bare_share_is_not_proof_where_the_lower_bound_is_asked_for():
    wanted = SuiteThreshold(share=0.9, bound="lower")
    assert not share_check("mine", results(10, 0), wanted, 0.95).passed
    assert share_check("mine", results(100, 0), wanted, 0.95).passed


def test_with_few_probes_the_upper_bound_forgives_and_with_many_it_does_not():
    wanted = SuiteThreshold(share=0.9, bound="upper", proof_from=300)
    assert share_check("mine", results(8, 2), wanted, 0.95).passed
    failed = share_check("mine", results(270, 30), wanted, 0.95)
    assert not failed.passed
    assert failed.bound == "lower"
    assert "edit7" in failed.reason


def test_missing_empty_and_unusable_suites_fail():
    wanted = Thresholds(suites={"needed": SuiteThreshold(required=True)})
    checks = checks_of(
        [Suite("mine"), Suite("broken", problem="torn")],
        {"mine": [], "broken": []},
        wanted,
        against_champion=False,
    )
    reasons = {c.suite: c.reason for c in checks if not c.passed}
    assert "missing" in reasons["needed"]
    assert "0 probes" in reasons["mine"]
    assert {"torn"} <= {c.reason for c in checks if c.suite == "broken"}


def test_no_checks_and_checks_without_a_number_are_no_pass():
    assert not passes([])
    assert not passes([Check("mine", "share", float("nan"), "none", 0.0, 1, True)])


def test_a_slice_that_is_surely_bad_fails_though_the_whole_is_good_enough():
    rows = results(960, 0) + [
        ProbeResult(
            "mine", f"b{i}", "p", "", "", "", False, "edit7", False, slices={"source": "wiki"}
        )
        for i in range(40)
    ]
    wanted = Thresholds(suites={"mine": SuiteThreshold(share=0.9, bound="lower")})
    failed = [
        c
        for c in checks_of([Suite("mine")], {"mine": rows}, wanted, against_champion=False)
        if not c.passed
    ]
    assert [c.metric for c in failed] == ["share where source is wiki"]


@pytest.mark.parametrize("name", ["repair", "surgery"])
def test_the_rules_of_repair_are_read_under_their_former_name_too(tmp_path: Path, name: str):
    file = tmp_path / "thresholds.yaml"
    file.write_text(f"{name}: {{rounds: 3}}\n", encoding="utf-8")
    assert Thresholds.load(file).repair.rounds == 3
